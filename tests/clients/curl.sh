# curl through the gateway; see fleet.py for what it finds. Prints a line a check, and at the end how many passed.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
chat=$GATEWAY/v1/chat/completions
messages='"messages":[{"role":"user","content":"Tell me of the sea"}]'

# over TLS curl takes HTTP/2 unless it is told not to
case $GATEWAY in
https:*) http1=--http1.1 http2=--http2 ;;
*) http1= http2=--http2-prior-knowledge ;;
esac

# check NAME COMMAND...: the command must succeed
check() {
    name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
        echo "ok    curl: $name"
    else
        failed=$((failed + 1))
        echo "FAIL  curl: $name"
        cat "$work/said"
    fi
}

# like curl, but quiet, within a limit, and without its own settings
get() { curl --disable --silent --show-error --max-time 30 $http1 "$@"; }

holds() { grep -q -e "$1" "$2" || { echo "$2 has no $1:"; cat "$2"; return 1; }; }

answers() {
    get "$@" -o "$work/body" -D "$work/head" "$chat" -d "{$messages,\"max_tokens\":5}" &&
        holds '"finish_reason":"length"' "$work/body" && holds ' 200' "$work/head"
}

streams() {
    get "$@" -N -o "$work/body" "$chat" -d "{$messages,\"max_tokens\":5,\"stream\":true}" &&
        holds '^data: \[DONE\]' "$work/body" &&
        test "$(grep -c '^data: ' "$work/body")" -ge 6
}

# the first event comes long before the last
streams_at_once() {
    get -N "$chat" -d "{$messages,\"max_tokens\":200,\"stream\":true}" |
        while read -r line; do case $line in data:*) date +%s%N; esac; done >"$work/times"
    test $(($(tail -n 1 "$work/times") - $(head -n 1 "$work/times"))) -gt 1000000000
}

# 2 MiB, which curl sends only after 100 Continue
expects() {
    {
        printf '{"max_tokens":2,"messages":[{"role":"user","content":"'
        head -c 2097152 /dev/zero | tr '\0' a
        printf '"}]}'
    } >"$work/large"
    get -v -H 'Expect: 100-continue' -H 'Content-Type: application/json' "$@" \
        -o "$work/body" "$chat" --data-binary "@$work/large" 2>"$work/head" &&
        holds '"finish_reason":"length"' "$work/body" && holds '< HTTP/1.1 100 Continue' "$work/head" &&
        if grep -q 'Done waiting for 100-continue' "$work/head"; then echo 'curl gave up waiting'; return 1; fi
}

head_is_short() {
    get --head "$GATEWAY/v1/models" >"$work/head" && holds '^HTTP/1.1 200' "$work/head" &&
        get --head "$GATEWAY/v1/models" "$GATEWAY/v1/models" >"$work/head" &&
        test "$(grep -c '^HTTP/1.1 200' "$work/head")" = 2
}

models() { get "$@" -o "$work/body" "$GATEWAY/v1/models" && holds '"id":"sim"' "$work/body"; }

# curl's 28: the time is over; then the node is free again
aborted() {
    curl --disable --silent -N --max-time 1 $http1 "$@" -o "$work/body" "$chat" \
        -d "{$messages,\"max_tokens\":10000,\"stream\":true}"
    test $? = 28 || return 1
    tries=0
    while get "$NODE_A/sim/stats" "$NODE_B/sim/stats" | grep -q '"in_flight":[1-9]'; do
        tries=$((tries + 1))
        test $tries -lt 300 || { echo 'the node still works for nobody'; return 1; }
        sleep 0.05
    done
}

# curl's 18: the transfer is not whole; over HTTP/2 it is 92, a reset stream
cut() {
    want=$1
    shift
    for node in "$NODE_A" "$NODE_B"; do get -d '{"kind":"die","after":5}' "$node/sim/fault" || return 1; done
    get "$@" -N -o "$work/body" "$chat" -d "{$messages,\"max_tokens\":50,\"stream\":true}"
    code=$?
    for node in "$NODE_A" "$NODE_B"; do get -X DELETE "$node/sim/fault" || return 1; done
    test $code = "$want" || { echo "curl ended with $code"; return 1; }
    holds '^data: ' "$work/body"
}

check 'a chat' answers
check 'a chat over HTTP/1.0' answers --http1.0
check 'a stream' streams
check 'a stream over HTTP/1.0' streams --http1.0
check 'a stream comes as it is made' streams_at_once
check 'Expect: 100-continue with 2 MiB' expects
check '2 MiB in chunks' expects -H 'Transfer-Encoding: chunked'
check 'HEAD, and again on the same connection' head_is_short
check 'GET /v1/models' models
check 'an aborted transfer frees the node' aborted
check 'a stream that breaks is an error' cut 18
if curl --version | grep -q HTTP2; then
    check 'HTTP/2: a chat' answers $http2
    check 'HTTP/2: a stream' streams $http2
    check 'HTTP/2: GET /v1/models' models $http2
    check 'HTTP/2: an aborted transfer frees the node' aborted $http2
    check 'HTTP/2: a stream that breaks is an error' cut 92 $http2
fi
echo "curl: $passed passed, $failed failed"
test $failed = 0
