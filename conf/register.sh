#!/bin/sh
# Starts vLLM and has it register itself: the pool has `sources: [{ registration: on }]`. A lease that is not renewed ends after
# its ttl (30s); told to stop, the node leaves first: it gets nothing new, and has five minutes for what it has begun.
: "${EVENKEEL:=http://127.0.0.1:9990}"

vllm serve Qwen/Qwen3-8B --port 8000 & vllm=$! me='{"port": 8000}'
trap 'curl -fsS -X DELETE "$EVENKEEL/api/nodes?wait=5m" -d "$me"; kill $vllm; wait $vllm' EXIT; trap exit INT TERM
while kill -0 $vllm; do curl -fsS -o /dev/null "$EVENKEEL/api/nodes" -d "$me"; sleep 10 & wait $!; done
