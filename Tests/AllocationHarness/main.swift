import AllocationCounter
import Balancer
import Dispatch
import Glibc
import Links
import Platform

// Whether a balancer's loop, once it has run for a while, allocates memory or counts references for requests or for new
// connections. It must not: more than one allocation in a hundred of them is a failure (status 1), or more than one retain
// or release in ten (of bulk and of two loops, see below): each time that a loop goes to rest and is called again takes
// four, but one for each event would be several for each of them. For optimised builds; the others allocate arrays for the
// literals of option sets:
//
//     swift run -c release AllocationHarness

guard allocations_are_counted() != 0 else {
    print("nothing is counted under a sanitizer")
    exit(0)
}

/// Two endpoints' sockets.
let backends = try (0..<2).map { _ in try listen(on: .ipv4("127.0.0.1", port: 0)) }

/// A balancer of one or two loops, with a front and two endpoints of its own.
final class Arrangement {
    let engine: BalancerEngine
    let port: UInt16
    private let applied = DispatchSemaphore(value: 0)
    private let loops: Int
    private var revision: UInt64 = 0
    /// Where the session lines come out.
    let log: Descriptor

    init(loops: Int) throws {
        self.loops = loops
        let front = try listen(on: .ipv4("127.0.0.1", port: 0))
        port = try SocketAddress.local(of: front).port ?? 0
        engine = BalancerEngine(BalancerEngine.Configuration()) { [applied] notice in
            if case .applied = notice { applied.signal() }
        }
        let pipe = try makePipe(nonblockingRead: true)
        log = pipe.read
        engine.receive(.listener(id: "front"), [front])
        engine.receive(.sessionLog(service: "api"), [pipe.write])
    }

    /// Puts a table in force, and waits for it.
    func apply(_ change: (inout RoutingTable.Pool) -> Void) throws {
        revision += 1
        var endpoints: [RoutingTable.Endpoint] = []
        for (number, backend) in backends.enumerated() {
            let port = try SocketAddress.local(of: backend).port ?? 0
            endpoints.append(
                RoutingTable.Endpoint(
                    id: UInt64(number + 1), instance: "api/\(number + 1)", port: port, state: .active))
        }
        let front = RoutingTable.Front(address: "127.0.0.1:80", listeners: ["front"])
        var pool = RoutingTable.Pool(
            service: "api", fronts: [front], endpoints: endpoints, emptiness: .hold, queueTimeout: 30_000_000_000,
            connectTimeout: 30_000_000_000, drainTimeout: 30_000_000_000)
        change(&pool)
        engine.receive(.table(RoutingTable(revision: revision, loops: loops, pools: [pool])))
        guard applied.wait(timeout: .now() + 30) == .success else { throw SystemError(call: "apply", code: ETIMEDOUT) }
    }

    /// Plain traffic through it: one connection at a time, a byte each way.
    var traffic: traffic {
        var traffic = AllocationCounter.traffic()
        traffic.port = port
        traffic.listeners = (backends[0].raw, backends[1].raw)
        traffic.parallel = 1
        traffic.size = 1
        traffic.session_log = -1
        return traffic
    }
}

/// One configuration, and what is sent through it.
struct Case {
    var name: String
    var requests: Int32 = 20_000
    var connections: Int32 = 2000
    var loops = 1
    var setting: (inout RoutingTable.Pool) -> Void = { _ in }
    var sending: (inout traffic) -> Void = { _ in }
    var isLogged = false
    /// How many retains and releases a request may cost: a small part of what one retain for each event would be. Some are
    /// for Dispatch, which calls a loop again that has waited for milliseconds, as on a machine that is busy with others.
    var references = 0.25
}

/// A header in memory that is never freed.
func header(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    memory.copyBytes(from: bytes)
    return UnsafeRawBufferPointer(memory)
}
let line = header(Array("PROXY TCP4 203.0.113.7 198.51.100.1 51234 80\r\n".utf8))
let binary = header(
    [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0, 12]
        + [203, 0, 113, 7, 198, 51, 100, 1, 200, 34, 0, 80])

let cases = [
    Case(name: "round robin", connections: 5000),
    Case(name: "32 at the same time", sending: { $0.parallel = 32 }),
    Case(name: "two loops", loops: 2),
    Case(name: "two loops, 32 at the same time", loops: 2, sending: { $0.parallel = 32 }),
    Case(name: "leastconn", setting: { $0.algorithm = .leastconn }, sending: { $0.parallel = 8 }),
    Case(name: "random2", setting: { $0.algorithm = .random2 }, sending: { $0.parallel = 8 }),
    Case(name: "source", setting: { $0.algorithm = .source }, sending: { $0.parallel = 8 }),
    Case(
        name: "maxConnections of an instance, with a queue", requests: 0, setting: { $0.maxConnections = 2 },
        sending: {
            $0.parallel = 4
            $0.waiting = 8
        }),
    Case(
        name: "maxConnections of a front", setting: { $0.fronts[0].maxConnections = 20 }, sending: { $0.parallel = 8 }),
    Case(
        name: "maxConnectionsPerAddress", setting: { $0.fronts[0].maxConnectionsPerAddress = 20 },
        sending: { $0.parallel = 8 }),
    Case(
        name: "allow",
        setting: { $0.fronts[0].allow = [RoutingTable.AddressRange(bytes: [127, 0, 0, 0], prefix: 8)] }),
    Case(
        name: "a PROXY header of version 1, in and out",
        setting: {
            $0.proxyProtocol = .v1
            $0.fronts[0].acceptsProxyProtocol = true
        },
        sending: {
            ($0.header_in, $0.header_in_size, $0.header_out) = (line.baseAddress, line.count, 1)
        }),
    Case(
        name: "a PROXY header of version 2, in and out",
        setting: {
            $0.proxyProtocol = .v2
            $0.fronts[0].acceptsProxyProtocol = true
        },
        sending: {
            ($0.header_in, $0.header_in_size, $0.header_out) = (binary.baseAddress, binary.count, 2)
        }),
    Case(name: "1 MB each way", requests: 500, connections: 200, sending: { $0.size = 1 << 20 }, references: 1),
    Case(
        name: "32 connections of 200 KB", requests: 640, connections: 320,
        sending: {
            $0.size = 200 << 10
            $0.parallel = 32
        }, references: 0.25),
    Case(name: "idleTimeout", setting: { $0.idleTimeout = 60_000_000_000 }, sending: { $0.parallel = 8 }),
    Case(name: "session log", setting: { $0.logsSessions = true }, sending: { $0.parallel = 8 }, isLogged: true),
]

// What does allocate and count references is seen: else no other number would mean anything.
allocations_begin()
let arrangements = try (1...2).map { try Arrangement(loops: $0) }
try arrangements[0].apply { _ in }
let seen = allocations_end()
var isWell = seen.allocations > 0 && seen.references > 0
if !isWell { print("of a new table \(seen.allocations) allocations and \(seen.references) references were counted") }

var measured = 0
for example in cases {
    let arrangement = arrangements[example.loops - 1]
    try arrangement.apply(example.setting)
    var traffic = arrangement.traffic
    example.sending(&traffic)
    if example.isLogged { traffic.session_log = arrangement.log.raw }
    for (what, count, measure) in [
        ("requests", example.requests, allocations_of_requests),
        ("connections", example.connections, allocations_of_connections),
    ] as [(String, Int32, (traffic, Int32) -> allocation_counts)] where count > 0 {
        _ = measure(traffic, max(100, count / 10))
        let counts = measure(traffic, count)
        let isFree =
            counts.allocations <= max(count / 100, 5) && Double(counts.references) <= example.references * Double(count)
        let numbers =
            counts.error != 0
            ? errorMessage(counts.error)
            : "\(counts.allocations) allocations, \(counts.references) references"
        print("\(isFree && counts.error == 0 ? "" : "FAILED: ")\(count) \(what): \(numbers) (\(example.name))")
        guard counts.error == 0 else { exit(1) }
        if !isFree { isWell = false }
        measured += 1
        if example.isLogged, what == "connections", counts.log_bytes < Int64(count) * 50 {
            print("FAILED: \(counts.log_bytes) bytes of session lines")
            isWell = false
        }
    }
}
if isWell {
    print("\(measured) measurements of \(cases.count) configurations: nothing per request, nothing per connection")
}
exit(isWell ? 0 : 1)
