import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Logs as the page reads them.
@Suite("Logs of the dashboard", .timeLimit(.minutes(10)))
struct DashboardLogTests {
    private struct Line: Decodable {
        var time: String
        var instance: String
        var message: String
        var place: String
    }

    private static func lines(_ page: UInt16, _ query: String) throws -> [Line] {
        let answer = try DashboardTests.get(page, "/v1/logs?\(query)")
        guard answer.status == 200 else { throw TestFailure(answer.text) }
        guard let head = answer.text.firstRange(of: "\r\n\r\n") else { throw TestFailure(answer.text) }
        return try answer.text[head.upperBound...].split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
    }

    @Test("the page goes back through rotated files to the first line that is kept, of two instances at once")
    func earlier() throws {
        let page = try freePort()
        let directory = try TemporaryDirectory()
        let count = 3000
        let script =
            "i=0; while [ $i -lt \(count) ]; do echo $INSTANCE line $i of $SERVICE; i=$((i+1)); done; exec sleep 1000"
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(page.port) } }, services: {
                loud: { command: ["/bin/sh", "-c", "\(script.replacing("$", with: "$$"))"], replicas: 2,
                        log: { maxSize: "64K", keep: 9 } },
            } }
            """, in: directory)
        try DashboardTests.waitForPage(page.port)
        for instance in 1...2 {
            try eventually("all lines") {
                try daemon.ctl("logs", "-n", "1", "loud/\(instance)").output.contains("line \(count - 1)") ? true : nil
            }
        }
        #expect(FileManager.default.fileExists(atPath: directory.file("log/loud/1.log.2")), "rotated")
        var found = try Self.lines(page.port, "name=loud&lines=500")
        #expect(found.count > 1)
        for _ in 0..<200 {
            var marks: [String: String] = [:]
            for line in found where marks[line.instance] == nil {
                marks[line.instance] = "\(line.instance)@\(line.place)@\(line.time)"
            }
            let before = marks.values.joined(separator: ",").replacing("/", with: "%2F")
            let more = try Self.lines(page.port, "name=loud&lines=500&before=\(before)")
            if more.isEmpty { break }
            found = more + found
        }
        for instance in 1...2 {
            let own = found.filter { $0.instance == "loud/\(instance)" }.map(\.message)
            let isWhole = own == (0..<count).map { "\(instance) line \($0) of loud" }
            #expect(isWhole, "\(own.count) lines, from \(own.first ?? "none") to \(own.last ?? "none")")
        }
        let isInOrder = found.map(\.time) == found.map(\.time).sorted()
        #expect(isInOrder)
    }

    @Test("of an instance that is gone the page is told so, once, and the stream is over")
    func gone() throws {
        let page = try freePort()
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(page.port) } }, services: {
                api: { command: ["/bin/sh", "-c", "echo here; exec sleep 1000"], replicas: 2 } } }
            """)
        try DashboardTests.waitForPage(page.port)
        try EventStream(page.port, target: "/v1/logs?name=api/2&follow=true").wait(for: "\"message\":\"here\"")
        #expect(try daemon.ctl("scale", "api=1").code == 0)
        let stream = try EventStream(page.port, target: "/v1/logs?name=api/2&follow=true")
        try stream.wait(for: "event: refused\n")
        try stream.wait(for: "\"code\":\"no-such-name\"")
        #expect(throws: TestFailure.self, "it ends") { try stream.wait(for: "event: line\n") }
        #expect(try DashboardTests.get(page.port, "/v1/logs?name=api/2").status == 404)
    }
}
