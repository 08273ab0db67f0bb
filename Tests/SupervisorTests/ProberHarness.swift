import Dispatch
import Glibc
import Links
import Manifest
import Platform
import Supervision
import TestSupport

@testable import Supervisor

/// A prober on a queue of its own, its reports as a stream to wait on.
final class ProberHarness: @unchecked Sendable {
    struct Report: Equatable {
        var generation: UInt64
        var passed: Bool
        var detail: String
        var output = ""
        var nobodyListens = false
    }

    let queue = DispatchQueue(label: "prober")
    private let reports = Lock<[Report]>([])
    private let arrived = DispatchSemaphore(value: 0)
    // Only used on the queue.
    private var prober: Prober?

    init(keeper: Int32 = getpid(), runCommand: @escaping Prober.RunCommand = { _, _ in {} }) {
        queue.sync {
            prober = Prober(
                queue: queue, keeper: keeper, runCommand: runCommand,
                // Not `self`, which may be on its way out while a result is.
                report: { [queue, reports, arrived] generation, outcome in
                    dispatchPrecondition(condition: .onQueue(queue))
                    reports.withLock {
                        $0.append(
                            Report(
                                generation: generation.number, passed: outcome.passed, detail: outcome.reason,
                                output: outcome.output, nobodyListens: outcome.nobodyListens))
                    }
                    arrived.signal()
                },
                note: { _ in })
        }
    }

    deinit { queue.sync { prober = nil } }

    func begin(
        _ leader: Int32, port: UInt16 = 1, number: UInt64 = 1, _ check: sending Prober.Target.Check,
        every interval: Duration? = nil, timeout: Duration = .seconds(30),
        proxyProtocol: BalanceSettings.ProxyProtocol? = nil
    ) {
        queue.sync {
            let purpose = interval.map { Prober.Target.Purpose.health(interval: $0, timeout: timeout) } ?? .readiness
            prober?.begin(
                Prober.Target(
                    instance: Self.instance(leader, number), port: port, check: check, purpose: purpose,
                    proxyProtocol: proxyProtocol))
        }
    }

    /// Probes this process for its health.
    func begin(
        _ port: UInt16, _ check: HTTPCheck, every interval: Duration = .milliseconds(20),
        timeout: Duration = .seconds(30)
    ) { begin(getpid(), port: port, .http(check, { _ in "" }), every: interval, timeout: timeout) }

    func end(_ number: UInt64) { queue.sync { prober?.end(Generation(number)) } }

    static func instance(_ leader: Int32, _ number: UInt64 = 1) -> InstanceProcesses.Instance {
        InstanceProcesses.Instance(
            generation: Generation(number), id: InstanceID(service: "api", number: 1), leader: leader,
            scope: "/run/\(getpid())#prober")
    }

    /// How tries have ended so far.
    var tally: ProbeTally { queue.sync { prober?.tally ?? ProbeTally() } }

    /// The next report.
    func next() throws -> Report {
        guard arrived.wait(timeout: .now() + 30) == .success else { throw TestFailure("no report within 30 s") }
        return try reports.withLock { reports in
            guard !reports.isEmpty else { throw TestFailure("no report") }
            return reports.removeFirst()
        }
    }

    /// Whatever was reported and not yet taken.
    var rest: [Report] { queue.sync { reports.withLock { $0 } } }
}

/// Answers every connection with the same bytes, in the test process itself.
final class CannedServer: Sendable {
    let port: UInt16
    private let listener: Descriptor
    private let heads = Lock<[String]>([])
    private let cleanEnds = Lock(0)

    /// `closes`: the connection is shut down after the last piece.
    /// `gate`: it answers once this lets it.
    init(_ pieces: [String], closes: Bool = true, after gate: DispatchSemaphore? = nil) throws {
        (port, listener) = try testListener()
        let listener = listener
        DispatchQueue(label: "canned server").async { [weak self] in
            while true {
                guard let connection = try? acceptConnection(from: listener) else { return }
                let raw = connection.raw
                var buffer = [UInt8](repeating: 0, count: 4096)
                let count = max(0, read(raw, &buffer, buffer.count))
                self?.heads.withLock { $0.append(String(decoding: buffer[..<count], as: UTF8.self)) }
                gate?.wait()
                for piece in pieces { _ = send(raw, piece, piece.utf8.count, Int32(MSG_NOSIGNAL)) }
                if closes { shutdown(raw, Int32(SHUT_WR)) }
                // 0 is a clean end; a reset is -1.
                if read(raw, &buffer, buffer.count) == 0 { self?.cleanEnds.withLock { $0 += 1 } }
                withExtendedLifetime(connection) {}
            }
        }
    }

    deinit { shutdown(listener.raw, Int32(SHUT_RDWR)) }

    var requests: [String] { heads.withLock { $0 } }
    var endedCleanly: Int { cleanEnds.withLock { $0 } }
}

extension HTTPCheck {
    /// A check of a path without variables.
    init(_ path: String, statuses: ClosedRange<Int> = 200...399, body: String? = nil, host: String? = nil) {
        self.init(
            path: Template(literal: path), lowestStatus: statuses.lowerBound, highestStatus: statuses.upperBound,
            body: body, host: host)
    }
}

extension Prober.Target.Check {
    /// A GET of a path without variables.
    static func http(path: String) -> Self { .http(HTTPCheck(path), { _ in "" }) }
}
