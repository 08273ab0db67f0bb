import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Lines that are on their way while supd is upgraded.
@Suite("Logs during an upgrade", .timeLimit(.minutes(15)))
struct UpgradeLogTests {
    /// What a journald has got that takes a line now and then, until it hurries.
    private final class SlowJournal: Sendable {
        private let numbers = Lock<[String]>([])
        private let isOver = Lock(false)
        private let isHurrying = Lock(false)

        init(at path: String) throws {
            let socket = try NoticeSocket(path: path, owner: nil, isOpen: false)
            startThread { [self] in
                while !isOver.withLock({ $0 }) {
                    if !isHurrying.withLock({ $0 }) { pause(for: .milliseconds(200)) }
                    guard let datagram = socket.peek(limit: 1 << 16) else {
                        pause(for: .milliseconds(1))
                        continue
                    }
                    let text = String(decoding: datagram.bytes ?? [], as: UTF8.self)
                    let number = text.firstRange(of: "MESSAGE=").map { text[$0.upperBound...].prefix { $0 != " " } }
                    numbers.withLock { $0.append(String(number ?? "?")) }
                    socket.drop()
                }
            }
        }

        var received: [String] { numbers.withLock { $0 } }
        func hurry() { isHurrying.withLock { $0 = true } }
        func end() { isOver.withLock { $0 = true } }
    }

    @Test("Lines that wait for a slow journald are sent before the supervisor leaves")
    func journal() throws {
        let directory = try TemporaryDirectory()
        let journald = try SlowJournal(at: directory.file("journal"))
        defer { journald.end() }
        let supd = try Installed.supd(in: directory)
        // Long ones: a few of them fill the socket.
        let lines = 120
        let loop = "while [ $$i -lt \(lines) ]; do printf '%d %012000d\\\\n' $$i 0; i=$$((i+1)); done"
        let daemon = try Daemon(
            """
            { services: { x: { command: ["/bin/sh", "-c",
                "while [ ! -e go ]; do sleep 0.05; done; i=0; \(loop); exec sleep 1000"],
                log: { journal: true } } } }
            """, in: directory, environment: ["PATH": "/usr/bin:/bin", "SUPD_TEST_JOURNAL": directory.file("journal")],
            supd: supd)
        _ = try directory.write("go", "")
        try eventually("a first line") { journald.received.isEmpty ? nil : true }
        let upgrade = try Program(Daemon.supctl, ["--socket", daemon.socket, "upgrade", supd])
        // The supervisor is asked to leave then, and has most of them still.
        try daemon.keeper.waitForOutput("takes over: it is supd")
        journald.hurry()
        let result = try upgrade.wait()
        #expect(result.code == 0, "\(result.output)\n\(daemon.keeper.output)")
        let wanted = (0..<lines).map(String.init)
        do {
            try eventually("all lines") { journald.received.count >= lines ? true : nil }
        } catch {
            throw TestFailure("\(error): \(journald.received.count) of \(lines)\n\(daemon.keeper.output)")
        }
        #expect(journald.received == wanted)
        #expect(daemon.logLines("x").count == lines)
    }

    @Test("Connections that outlive an upgrade have their lines, and those that outlive their drain time are cut")
    func sessionLines() throws {
        let (front, short) = (try freePort(), try freePort())
        let daemon = try Daemon(
            """
            { services: {
                api: { command: ['@demo@', '--quiet'], listen: \(front.port), balance: { log: true } },
                short: { command: ['@demo@', '--quiet'], listen: \(short.port), balance: { drainTimeout: '200ms' } },
            } }
            """)
        var kept: KeptConnection? = try KeptConnection(port: front.port)
        _ = try kept?.get("/")
        let cut = try KeptConnection(port: short.port)
        _ = try cut.get("/")
        #expect(try daemon.ctl("upgrade").code == 0)
        #expect(try cut.rest().isEmpty)
        #expect(try HTTP.get(port: short.port, "/").status == 200)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        _ = try kept?.get("/")
        kept = nil
        // Of the two balancers.
        try eventually("both lines") {
            let log = daemon.directory.file("log/api/balancer.log")
            let lines = try? String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
            return lines?.count == 2 ? true : nil
        }
    }
}
