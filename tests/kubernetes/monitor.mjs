// Holds ServiceMonitors against the schema of Prometheus' operator: monitor.mjs FOLDER FILE...
// FOLDER is where npm has installed @kubernetes-models/prometheus-operator.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const home = join(folder, "node_modules/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index.js");
const { ServiceMonitor } = await import(pathToFileURL(home));
let bad = files.length === 0;
for (const file of files) {
  const monitor = JSON.parse(readFileSync(file, "utf8"));
  try {
    new ServiceMonitor(monitor).validate();
  } catch (error) {
    console.log(`FAILED ServiceMonitor ${monitor.metadata.name}: ${error.message}`);
    bad = true;
  }
}
console.log(`${files.length} ServiceMonitors against the operator's schema`);
process.exit(bad ? 1 : 0);
