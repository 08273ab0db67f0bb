import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// A log directory that takes no lines: services go on, what is dropped is counted, and told.
@Suite("Logs in trouble", .timeLimit(.minutes(15)))
struct LogTroubleTests {
    private func dropped(_ daemon: Daemon, _ service: String) throws -> DroppedOutput? {
        try daemon.status(service).services.first?.instances.first?.droppedOutput
    }

    /// The numbers of all notes in a log: `stderr F [supd] dropped 12 lines (345 bytes): REASON`.
    private func notes(_ lines: [String], reason: Int32) -> [UInt64] {
        lines.compactMap { line in
            guard line.hasPrefix("stderr F [supd] dropped "), line.hasSuffix(" bytes): \(errorMessage(reason))") else {
                return nil
            }
            return UInt64(line.split(separator: " ")[4])
        }
    }

    @Test(
        "A full disk stops nobody: lines are dropped, counted and told, and written again when there is room",
        .enabled(if: SmallDisk.isAllowed, "mounting a small file system needs root"))
    func full() throws {
        let directory = try TemporaryDirectory()
        let disk = try SmallDisk(at: directory.file("log"))
        let front = try freePort()
        let daemon = try Daemon(
            """
            { services: { flood: { command: ['/usr/bin/yes', 'a line of a service that says more than there is room for'],
                                   log: { maxSize: '1M', keep: 1 } },
                          quiet: { command: ['@demo@'], listen: \(front.port) } } }
            """, in: directory)
        let pids = try daemon.pids()
        let roles = try daemon.status().daemon.roles
        let full = errorMessage(ENOSPC)
        try daemon.keeper.waitForOutput("cannot write the log of flood/1, dropping its lines: ")
        let first = try eventually("lines of the flood to be dropped") { try dropped(daemon, "flood") }
        #expect(first.reason == full && first.lines > 0 && first.bytes >= first.lines)
        // It is not held up: it writes, and is counted, on and on.
        try eventually("more") { try (dropped(daemon, "flood")?.lines ?? 0) > first.lines + 10_000 ? true : nil }
        // The other one writes a line a request, until its file has no room either.
        let quiet = try eventually("a line of the other to be dropped") { () throws -> DroppedOutput? in
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            return try dropped(daemon, "quiet")
        }
        #expect(quiet.reason == full)
        let page = try daemon.ctl("status", "quiet")
        #expect(page.code == 0 && page.output.contains(" dropped: \(full)"), "\(page.output)")
        let restart = try daemon.ctl("restart", "quiet")
        #expect(restart.code == 0, "\(restart.output)")
        // Who stood in goes a moment after the restart is done.
        let now = try eventually("those alone that are to be") { () throws -> [String: Int32]? in
            let now = try daemon.pids()
            return Set(now.keys) == Set(pids.keys) ? now : nil
        }
        // Who stood in may still get a connection that comes before the balancer has the next table.
        try eventually("the new one to answer") {
            try HTTP.get(port: front.port, "/").body.contains("\"pid\":\(now["quiet/1"] ?? 0),") ? true : nil
        }
        #expect(now["quiet/1"] != pids["quiet/1"] && now["flood/1"] == pids["flood/1"])

        try disk.enlarge()
        try daemon.keeper.waitForOutput("the log of flood/1 is written again; dropped ")
        try eventually("the lines of the other, and how many are missing") { () throws -> Bool? in
            #expect(try HTTP.get(port: front.port, "/line-1").status == 404)
            let lines = daemon.logLines("quiet")
            return lines.contains { $0.contains("/line-1") } && !notes(lines, reason: ENOSPC).isEmpty ? true : nil
        }
        // Every line that is missing is in a note, those of the process before the restart too.
        let total = try #require(try dropped(daemon, "quiet")?.lines)
        #expect(notes(daemon.logLines("quiet"), reason: ENOSPC).reduce(0, +) == total, "\(daemon.logLines("quiet"))")
        #expect(try daemon.pids() == now)
        #expect(try daemon.status().daemon.roles == roles)
        #expect(try daemon.ctl("shutdown").code == 0)
        #expect(try daemon.keeper.wait(within: 30).code == 0)
        withExtendedLifetime(disk) {}
    }

    @Test("A log directory that is removed is made again; where it cannot be, lines are dropped, counted and told")
    func removed() throws {
        let directory = try TemporaryDirectory()
        let front = try freePort()
        let daemon = try Daemon(
            """
            { hooks: [{ on: ['log-dropped'], command: ['/bin/sh', '-c', 'cat >>told'] }],
              services: { x: { command: ['@demo@'], listen: \(front.port) } } }
            """, in: directory)
        let pids = try daemon.pids()
        let roles = try daemon.status().daemon.roles
        // It writes a line a request, with the path.
        func ask(_ path: String) throws { #expect(try HTTP.get(port: front.port, path).status == 404) }
        func wait(for path: String) throws {
            try eventually("the line of \(path)") { daemon.logLines("x").contains { $0.contains(path) } ? true : nil }
        }
        try ask("/line-1")
        try wait(for: "/line-1")
        try FileManager.default.removeItem(atPath: directory.file("log"))
        try ask("/line-2")
        try wait(for: "/line-2")
        #expect(!daemon.logLines("x").contains { $0.contains("/line-1") })
        #expect(try dropped(daemon, "x") == nil)

        // A file in its place: nothing can be made there.
        try FileManager.default.removeItem(atPath: directory.file("log"))
        _ = try directory.write("log", "")
        try ask("/line-3")
        let loss = try eventually("a dropped line") { try dropped(daemon, "x") }
        #expect(loss.reason == errorMessage(ENOTDIR) && loss.lines == 1)
        // A hook is told, which could send a mail.
        let told = try eventually("the hook") { () throws -> String? in
            let text = (try? String(contentsOfFile: directory.file("told"), encoding: .utf8)) ?? ""
            return text.hasSuffix("}\n") ? text : nil
        }
        #expect(told.hasPrefix(#"{"on":"log-dropped","number":"#) && told.contains(#""instance":"x/1""#), "\(told)")
        #expect(told.contains(#""kind":"logDropped","lines":1,"#) && told.contains(errorMessage(ENOTDIR)), "\(told)")
        try daemon.keeper.waitForOutput("cannot write the log of x/1, dropping its lines: ")
        #expect(try daemon.ctl("status").code == 0)
        unlink(directory.file("log"))
        try eventually("lines again, and how many are missing") { () throws -> Bool? in
            try ask("/line-4")
            let lines = daemon.logLines("x")
            return lines.contains { $0.contains("/line-4") } ? true : nil
        }
        let total = try #require(try dropped(daemon, "x")?.lines)
        #expect(notes(daemon.logLines("x"), reason: ENOTDIR) == [total])
        try daemon.keeper.waitForOutput("the log of x/1 is written again; dropped ")
        #expect(try daemon.pids() == pids)
        #expect(try daemon.status().daemon.roles == roles)
    }
}
