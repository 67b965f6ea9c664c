// kafkajs against a broker: the client of Node programs, with its own code for every request.
//
//   node with_kafkajs.js HOST:PORT [CHECK...]

'use strict'

const assert = require('node:assert/strict')
const crypto = require('node:crypto')
const { CompressionCodecs, CompressionTypes, Kafka, ConfigResourceTypes, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')

const CHECK_TIMEOUT_MS = 90_000

const [address, ...only] = process.argv.slice(2)
if (!address) {
  console.error('usage: with_kafkajs.js HOST:PORT [CHECK...]')
  process.exit(64)
}
const [host, port] = [address.slice(0, address.lastIndexOf(':')), Number(address.split(':').pop())]
const kafka = new Kafka({ clientId: 'kafkajs-test', brokers: [address], logLevel: logLevel.NOTHING })

// kafkajs brings gzip; the others are plugged in as its manual describes.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
})
const zstd = new Promise((resolve) => ZstdCodec.run((codec) => resolve(new codec.Simple())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
})

const fresh = (stem) => `kafkajs-${stem}-${crypto.randomBytes(6).toString('hex')}`
const numbers = (count) => Array.from({ length: count }, (_, i) => i)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function eventually(condition, what, seconds = 30) {
  const deadline = Date.now() + seconds * 1000
  while (!(await condition())) {
    assert(Date.now() < deadline, `not within ${seconds} s: ${what}`)
    await pause(100)
  }
}

async function refused(promise, type) {
  const answer = await promise.then(
    () => 'no error',
    (error) => error.type ?? error.errors?.[0]?.type ?? error.groups?.[0]?.error?.type ?? error.message
  )
  assert.equal(answer, type)
}

async function withAdmin(body) {
  // Refusals are wanted here, and would be retried for seconds.
  const admin = kafka.admin({ retry: { retries: 2 } })
  await admin.connect()
  try {
    return await body(admin)
  } finally {
    await admin.disconnect()
  }
}

async function create(stem, numPartitions = 1, configEntries = []) {
  const topic = fresh(stem)
  const topics = [{ topic, numPartitions, replicationFactor: 1, configEntries }]
  await withAdmin((admin) => admin.createTopics({ topics, waitForLeaders: true }))
  return topic
}

async function send(topic, messages, { settings = {}, ...options } = {}) {
  const producer = kafka.producer(settings)
  await producer.connect()
  try {
    return await producer.send({ topic, messages, ...options })
  } finally {
    await producer.disconnect()
  }
}

// A consumer that runs until stopped; what it got is in `messages`, what it owns in `assigned`.
async function member(topic, groupId, run = {}) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200 })
  const state = { consumer, messages: [], assigned: [], stop: () => consumer.disconnect() }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    state.assigned = payload.memberAssignment[topic] ?? []
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => state.messages.push({ partition, ...message }),
    ...run,
  })
  return state
}

async function read(topic, count) {
  const reader = await member(topic, fresh('group'))
  await eventually(() => reader.messages.length >= count, `${count} messages of ${topic}`)
  await reader.stop()
  assert.equal(reader.messages.length, count)
  return reader.messages
}

const text = (buffer) => buffer && buffer.toString()

const checks = {
  async recordsComeBackWholeAndInOrder() {
    const topic = await create('order', 3)
    const base = Date.now() - 60_000
    const sent = numbers(900).map((i) => ({
      partition: i % 3,
      key: `key-${i}`,
      value: `value-${i}`.repeat(5),
      timestamp: String(base + i),
      headers: { n: String(i), twice: ['a', 'b'], binary: Buffer.from([0, 255, 128]) },
    }))
    await send(topic, sent)
    const got = await read(topic, 900)
    for (const partition of numbers(3)) {
      const mine = got.filter((m) => m.partition === partition)
      const want = sent.filter((m) => m.partition === partition)
      assert.deepEqual(mine.map((m) => m.offset), numbers(300).map(String))
      assert.deepEqual(mine.map((m) => text(m.key)), want.map((m) => m.key))
      assert.deepEqual(mine.map((m) => text(m.value)), want.map((m) => m.value))
      assert.deepEqual(mine.map((m) => m.timestamp), want.map((m) => m.timestamp))
      assert.deepEqual(mine.map((m) => text(m.headers.n)), want.map((m) => m.headers.n))
      assert.deepEqual(mine[0].headers.twice.map(text), ['a', 'b'])
      assert.deepEqual([...mine[0].headers.binary], [0, 255, 128])
    }
  },

  async nullAndEmptyStayApart() {
    const topic = await create('null')
    const pairs = [['k', null], [null, 'v'], ['', ''], ['k', '']]
    await send(topic, pairs.map(([key, value]) => ({ key, value, partition: 0 })))
    const got = await read(topic, pairs.length)
    assert.deepEqual(got.map((m) => [text(m.key), text(m.value)]), pairs)
  },

  async everyCodec() {
    for (const name of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
      const topic = await create(`codec-${name}`)
      const values = numbers(300).map((i) => `${name} ${i} `.repeat(50))
      await send(topic, values.map((value) => ({ value })), { compression: CompressionTypes[name] })
      const got = await read(topic, 300)
      assert.deepEqual(got.map((m) => text(m.value)), values, name)
      assert.deepEqual(got.map((m) => m.offset), numbers(300).map(String), name)
    }
  },

  // kafkajs states that its default partitioner agrees with Java's. These partitions of 7 were told by
  // Kafka's own hash, which the Python programs hold against the values in Kafka's tests.
  async keysGoToJavasPartition() {
    const topic = await create('keyed', 7)
    const want = { 'customer-0': 5, 'customer-1': 3, 'customer-2': 0, 'customer-3': 5 }
    await send(topic, Object.keys(want).map((key) => ({ key, value: 'v' })))
    const got = await read(topic, 4)
    assert.deepEqual(Object.fromEntries(got.map((m) => [text(m.key), m.partition])), want)
  },

  async largeRecordsPassAndTooLargeOnesAreRefused() {
    const topic = await create('large')
    const value = crypto.randomBytes(900_000)
    await send(topic, [{ value }])
    assert((await read(topic, 1))[0].value.equals(value))
    const tooLarge = send(topic, [{ value: crypto.randomBytes(1_800_000) }])
    await refused(tooLarge, 'MESSAGE_TOO_LARGE')
  },

  async replayByTimestamp() {
    const topic = await create('replay')
    const base = Date.now() - 600_000
    await send(topic, numbers(100).map((i) => ({ value: String(i), timestamp: String(base + i * 1000) })))
    await withAdmin(async (admin) => {
      for (const [ask, want] of [[0, '0'], [1, '1'], [50_000, '50'], [98_500, '99'], [10 ** 7, '100']]) {
        const found = await admin.fetchTopicOffsetsByTimestamp(topic, base + ask)
        assert.equal(found[0].offset, want, `offset at base + ${ask} ms`)
      }
      const [bounds] = await admin.fetchTopicOffsets(topic)
      assert.deepEqual([bounds.low, bounds.high], ['0', '100'])
    })
    const reader = await member(topic, fresh('group'))
    reader.consumer.seek({ topic, partition: 0, offset: '97' })
    await eventually(() => reader.messages.slice(-3).map((m) => text(m.value)).join() === '97,98,99', 'seek')
    await reader.stop()
  },

  async acksAndIdempotence() {
    const topic = await create('acks')
    for (const acks of [0, 1, -1]) {
      await send(topic, numbers(50).map(() => ({ value: String(acks) })), { acks })
    }
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (const i of numbers(50)) await producer.send({ topic, messages: [{ value: `idempotent ${i}` }] })
    await producer.disconnect()
    const values = (await read(topic, 200)).map((m) => text(m.value))
    const want = ['0', '1', '-1'].flatMap((acks) => Array(50).fill(acks))
    assert.deepEqual(values, [...want, ...numbers(50).map((i) => `idempotent ${i}`)])
  },

  async anUnknownTopicIsCreatedByItsFirstProducer() {
    const topic = fresh('auto')
    await send(topic, [{ value: 'first' }], { settings: { allowAutoTopicCreation: true } })
    assert.equal(text((await read(topic, 1))[0].value), 'first')
  },

  async aGroupOfOneToFour() {
    const topic = await create('group', 6)
    const group = fresh('group')
    const members = []
    const sharedOut = () => {
      const owned = members.map((m) => m.assigned)
      return owned.every((o) => o.length) && owned.flat().sort().join() === '0,1,2,3,4,5'
    }
    for (const size of [1, 2, 3, 4]) {
      members.push(await member(topic, group))
      await eventually(sharedOut, `${size} members share 6 partitions`)
    }
    await send(topic, numbers(300).map((i) => ({ partition: i % 6, value: String(i) })))
    const values = () => members.flatMap((m) => m.messages).map((m) => Number(m.value)).sort((a, b) => a - b)
    await eventually(() => values().length >= 300, '300 messages')
    assert.deepEqual(values(), numbers(300), 'each record once')
    for (const left of [3, 2]) {
      await members.shift().stop()
      await eventually(sharedOut, `${left} members share 6 partitions`)
    }
    await Promise.all(members.map((m) => m.stop()))
  },

  async aGroupResumesWhereItCommitted() {
    const topic = await create('resume')
    const group = fresh('group')
    await send(topic, numbers(20).map((i) => ({ value: String(i) })))
    const first = await member(topic, group, { autoCommit: false })
    await eventually(() => first.messages.length === 20, '20 messages')
    await first.consumer.commitOffsets([{ topic, partition: 0, offset: '8', metadata: 'after the eighth' }])
    await first.stop()
    await withAdmin(async (admin) => {
      const [held] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      assert.deepEqual(held.partitions, [{ partition: 0, offset: '8', metadata: 'after the eighth' }])
    })
    const second = await member(topic, group)
    await eventually(() => second.messages.length >= 12, '12 messages')
    assert.deepEqual(second.messages.map((m) => text(m.value)), numbers(20).slice(8).map(String))
    await second.stop()
  },

  async topicsConfigsAndRecordsAreAdministered() {
    const topic = await create('admin', 2, [{ name: 'retention.ms', value: '7200000' }])
    await withAdmin(async (admin) => {
      assert((await admin.listTopics()).includes(topic))
      const existing = { topics: [{ topic, numPartitions: 1 }] }
      assert.equal(await admin.createTopics(existing), false, 'the topic exists')
      await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
      assert.equal(topics[0].partitions.length, 5)
      const fewer = admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
      await refused(fewer, 'INVALID_PARTITIONS')

      const config = async (name) => {
        const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }]
        const answer = await admin.describeConfigs({ includeSynonyms: true, resources })
        return answer.resources[0].configEntries.find((e) => e.configName === name)
      }
      assert.equal((await config('retention.ms')).configValue, '7200000')
      const configEntries = [{ name: 'retention.ms', value: '8000000' }]
      const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
      await admin.alterConfigs({ validateOnly: false, resources })
      await eventually(async () => (await config('retention.ms')).configValue === '8000000', 'altered')

      await send(topic, numbers(50).map((i) => ({ partition: 0, value: String(i) })))
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '20' }] })
      const bounds = (await admin.fetchTopicOffsets(topic)).find((p) => p.partition === 0)
      assert.deepEqual([bounds.low, bounds.high], ['20', '50'])

      const cluster = await admin.describeCluster()
      assert(cluster.clusterId)
      const virtual = Number(process.env.VIRTUAL_BROKERS ?? 0)
      const ports = virtual ? numbers(virtual).map((core) => port + 1 + core) : [port]
      assert(ports.every((told) => cluster.brokers.some((b) => b.host === host && b.port === told)))

      await admin.deleteTopics({ topics: [topic] })
      await eventually(async () => !(await admin.listTopics()).includes(topic), 'the topic is gone')
      const again = admin.deleteTopics({ topics: [topic] })
      await assert.rejects(again, /This server does not host this topic-partition/)
    })
  },

  async groupsAreAdministered() {
    const topic = await create('groups', 2)
    const group = fresh('group')
    await send(topic, numbers(10).map((i) => ({ partition: i % 2, value: 'v' })))
    const joined = await member(topic, group)
    await eventually(() => joined.messages.length === 10, '10 messages')
    await withAdmin(async (admin) => {
      const described = async () => (await admin.describeGroups([group])).groups[0]
      assert.equal((await described()).state, 'Stable')
      assert.equal((await described()).members.length, 1)
      assert((await admin.listGroups()).groups.some((g) => g.groupId === group))
      await refused(admin.deleteGroups([group]), 'NON_EMPTY_GROUP')
      await joined.stop()
      await eventually(async () => (await described()).state === 'Empty', 'the group is empty')
      await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '2' }] })
      const [held] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      assert.equal(held.partitions.find((p) => p.partition === 0).offset, '2')
      await admin.resetOffsets({ groupId: group, topic, earliest: true })
      await admin.deleteGroups([group])
      await refused(admin.deleteGroups([group]), 'GROUP_ID_NOT_FOUND')
    })
  },
}

async function main() {
  let [passed, failed] = [0, 0]
  for (const [name, check] of Object.entries(checks)) {
    if (only.length && !only.includes(name)) continue
    const started = Date.now()
    const seconds = () => `${((Date.now() - started) / 1000).toFixed(1)} s`
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no result after ${CHECK_TIMEOUT_MS} ms`)), CHECK_TIMEOUT_MS)
    })
    try {
      await Promise.race([check(), late])
      passed += 1
      console.log(`ok ${name} (${seconds()})`)
    } catch (error) {
      failed += 1
      console.log(`FAILED ${name} (${seconds()})`)
      console.error(error)
    } finally {
      clearTimeout(timer)
    }
  }
  const summary = `RAN kafkajs ${require('kafkajs/package.json').version}: ${passed} passed`
  console.log(summary + (failed ? `, ${failed} failed` : ''))
  // A failed check may leave a consumer running, which would keep the process alive.
  process.exit(failed || !passed ? 1 : 0)
}

process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection', error)
  process.exitCode = 1
})
main()
