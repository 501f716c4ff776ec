// runtime.py for Node: the same task, the same measurements.
import { readFileSync, writeFileSync } from "node:fs";

const task = JSON.parse(process.argv[2]);
const monotonic = () => Number(process.hrtime.bigint()) / 1e9;

const BATCH = 10; // as in runtime.py

async function ask(handler, event) {
  try {
    return JSON.stringify(await handler(JSON.parse(event)));
  } catch (error) {
    return JSON.stringify({ errorMessage: error.message });
  }
}

const [module, name] = process.env._HANDLER.split(".");
const handler = (await import(`${task.artifact}/${module}.mjs`))[name];
const initialised = monotonic();
const first = await ask(handler, task.first);
const answered = monotonic();
const used = process.resourceUsage();
const cpu = (used.userCPUTime + used.systemCPUTime) / 1e6;
const peak_kib = Number(readFileSync("/proc/self/status", "utf8").match(/VmHWM:\s+(\d+)/)[1]);
const warm = {};
for (const [outcome, event] of Object.entries(task.events)) {
  const answers = new Set();
  for (let n = 0; n < task.times / 10 + 1; n++) answers.add(await ask(handler, event));
  const batches = [];
  for (let batch = 0; batch < task.times / BATCH; batch++) {
    const since = monotonic();
    for (let n = 0; n < BATCH; n++) answers.add(await ask(handler, event));
    batches.push((monotonic() - since) / BATCH);
  }
  batches.sort((a, b) => a - b);
  const us = batches[Math.floor(batches.length / 2)] * 1e6;
  warm[outcome] = { us, handler_us: us, answers: [...answers].sort() };
}
writeFileSync(task.to, JSON.stringify({ initialised, answered, first, warm, modules: [], cpu, peak_kib }));
