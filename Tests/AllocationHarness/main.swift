import AllocationCounter
import Balancer
import Dispatch
import Glibc
import Links
import Platform

// Whether a balancer's loop, once it has run for a while, allocates memory for requests or for new connections. It must
// not: more than one allocation in a hundred is a failure (status 1). For optimised builds; the others allocate arrays
// for the literals of option sets:
//
//     swift run -c release AllocationHarness

guard allocations_are_counted() != 0 else {
    print("nothing is counted under a sanitizer")
    exit(0)
}
let front = try listen(on: .ipv4("127.0.0.1", port: 0))
let backend = try listen(on: .ipv4("127.0.0.1", port: 0))
guard let frontPort = try SocketAddress.local(of: front).port, let port = try SocketAddress.local(of: backend).port
else { throw SystemError(call: "getsockname", code: EINVAL) }

let applied = DispatchSemaphore(value: 0)
let engine = BalancerEngine(BalancerEngine.Configuration()) { notice in
    if case .applied = notice { applied.signal() }
}
engine.receive(.listener(id: "front"), [front])
let pool = RoutingTable.Pool(
    service: "api", fronts: [RoutingTable.Front(address: "127.0.0.1:80", listeners: ["front"])],
    endpoints: [RoutingTable.Endpoint(id: 1, instance: "api/1", port: port, state: .active)], emptiness: .hold,
    queueTimeout: 30_000_000_000, connectTimeout: 30_000_000_000, drainTimeout: 30_000_000_000)

// What does allocate is counted: else no other number would mean anything.
allocations_begin()
engine.receive(.table(RoutingTable(revision: 1, loops: 1, pools: [pool])))
applied.wait()
var isWell = allocations_end() > 0
if !isWell { print("the allocations of a new table were not counted") }

for (name, count, measure) in [
    ("requests", 20_000, allocations_of_requests), ("connections", 5_000, allocations_of_connections),
] as [(String, Int32, (UInt16, Int32, Int32) -> Int64)] {
    _ = measure(frontPort, backend.raw, count / 10)
    let allocations = measure(frontPort, backend.raw, count)
    print("\(count) \(name): \(allocations < 0 ? errorMessage(Int32(-allocations)) : "\(allocations) allocations")")
    if allocations < 0 || allocations > Int64(count / 100) { isWell = false }
}
exit(isWell ? 0 : 1)
