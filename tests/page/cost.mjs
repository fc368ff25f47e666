// The CPU time that an open page costs the gateway: 1000 nodes, 2000 open streams, with a reader of /api/live and without, in turns.
//   node tests/page/cost.mjs EVENKEEL [SECONDS] [TURNS]
// A build without optimisation says nothing. The streams are slow, so that little else costs anything.

import { readFileSync } from 'node:fs';
import http from 'node:http';

import { Fleet, until } from './fleet.mjs';

const [binary, seconds = '20', turns = '3'] = process.argv.slice(2);
const STREAMS = 2000;
const node = (name) => ({ name, args: ['--step-base', '2s', '--max-seqs', '4096'] });
const fleet = await Fleet.start(binary, {
  p: { yaml: '', nodes: [node('a'), node('b'), { ...node('idle'), copies: 998, more: ', drain: true' }] },
});

// In ms, as the kernel counts it: ticks of 10 ms.
const cpu = () => {
  const fields = readFileSync(`/proc/${fleet.gateway.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
};
const passes = () => new Promise((end) => setTimeout(end, Number(seconds) * 1000));

// As the page does it: the live status, and the open requests in sight once a second.
function openPage(withRequests) {
  let bytes = 0;
  const request = http.get(`${fleet.admin}/api/live`, (answer) => answer.on('data', (data) => { bytes += data.length; }));
  request.on('error', () => {});
  const polls = withRequests ? setInterval(() => fetch(`${fleet.admin}/api/requests?limit=45&sort=age`).then((answer) => answer.text()), 1000) : null;
  return () => {
    clearInterval(polls);
    request.destroy();
    return bytes;
  };
}

try {
  fleet.load(STREAMS, { tokens: [100000, 100000] });
  await until('all streams', async () => (await fleet.status()).requests === STREAMS, 120000);
  const sums = {};
  for (let turn = 0; turn < Number(turns); turn += 1) {
    for (const [name, open] of [['no page', null], ['live', () => openPage(false)], ['live and requests', () => openPage(true)]]) {
      const close = open && open();
      const before = cpu();
      await passes();
      const share = (cpu() - before) / (Number(seconds) * 10);
      const bytes = close ? close() : 0;
      (sums[name] ||= []).push(share);
      console.log(`${name}: ${share.toFixed(2)} % of a core${bytes ? `, ${Math.round(bytes / 1024 / Number(seconds))} KiB/s` : ''}`);
    }
  }
  const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
  for (const [name, list] of Object.entries(sums)) console.log(`${name}: ${mean(list).toFixed(2)} % on average, ${(mean(list) - mean(sums['no page'])).toFixed(2)} more than without a page`);
} finally {
  fleet.stop();
}
process.exit(0);
