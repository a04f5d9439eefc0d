// js-ipfs as a daemon with Kubo's RPC, for the tests of content.
//
//   node daemon.mjs
//
// It listens on a free port of the loopback address, prints the address of its RPC, and ends when its
// standard input does. Its repository is a scratch one. It is never started as a peer, so it looks for nothing.
import { create } from 'ipfs-core'
import { HttpApi } from 'ipfs-http-server'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const free = () => new Promise((resolve) => {
  const server = createServer()
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => resolve(port))
  })
})
const port = await free()
const repo = mkdtempSync(join(tmpdir(), 'js-ipfs-'))
process.on('exit', () => rmSync(repo, { recursive: true, force: true }))
const ipfs = await create({
  repo,
  silent: true,
  start: false,
  init: { emptyRepo: true, algorithm: 'Ed25519', profiles: ['test'] },
  config: {
    Addresses: { Swarm: [], API: `/ip4/127.0.0.1/tcp/${port}`, Gateway: '', Delegates: [] },
    Bootstrap: [],
    Discovery: { MDNS: { Enabled: false }, webRTCStar: { Enabled: false } },
    Routing: { Type: 'none' }
  }
})

// Kubo's words for a block that is not there.
for (const call of ['get', 'stat']) {
  const inner = ipfs.block[call]
  ipfs.block[call] = (cid, options) => inner(cid, options).catch((error) => {
    throw error.code === 'ERR_NOT_FOUND' ? new Error(`block was not found locally (offline): ipld: could not find ${cid}`) : error
  })
}

await new HttpApi(ipfs).start()
process.stdin.on('end', () => process.exit(0)).resume()
console.log(`http://127.0.0.1:${port}`)
