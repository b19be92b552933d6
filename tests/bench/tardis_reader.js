// Reads lines from npm tardis-dev's own cache, as a peer: no network is asked, for the slice is there.
//   node tardis_reader.js FOLDER-WITH-node_modules CACHE YYYY-MM-DDTHH:MM decode|bytes
// Prints the messages and the CPU (all threads) as JSON.
'use strict'
const { createRequire } = require('module')
const [folder, cache, minute, how] = process.argv.slice(2)
const { replay, init } = createRequire(folder + '/')('tardis-dev')

async function main() {
  init({ cacheDir: cache })
  const from = new Date(minute + ':00.000Z')
  const to = new Date(from.getTime() + 60000)
  const messages = replay({ exchange: 'binance-futures', from: from.toISOString(), to: to.toISOString(), filters: [],
                            skipDecoding: how === 'bytes' })
  const before = process.cpuUsage()
  let count = 0
  for await (const _ of messages) count++
  const used = process.cpuUsage(before)
  console.log(JSON.stringify({ messages: count, cpu_s: (used.user + used.system) / 1e6 }))
}
main()
