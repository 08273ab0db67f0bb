import FoundationEssentials
import Glibc
import Platform
import TestSupport
import Testing

@Suite struct ProcessTableTests {
    static let fields = "S 12 34 56 0 -1 4194304 90 0 0 0 7 5 3 2 20 0 1 0 4242 9999 10 18446744073709551615"

    @Test(
        "the name ends at the last parenthesis, whatever it holds",
        arguments: [
            ("sleep", "sleep"), ("a) S 1 1 (b", "a) S 1 1 (b"), (") Z 0", ") Z 0"), ("", ""), ("a b", "a b"),
            ("x\ny", "x?y"),
        ])
    func hostileNames(name: String, shown: String) throws {
        let entry = try #require(ProcessEntry(statText: Array("77 (\(name)) \(Self.fields)\n".utf8)))
        #expect(entry.pid == 77)
        #expect(entry.name == shown)
        #expect((entry.parent, entry.group, entry.session) == (12, 34, 56))
        #expect(entry.state == UInt8(ascii: "S"))
        #expect((entry.cpuTicks, entry.ownTicks) == (17, 12))
        #expect((entry.threads, entry.virtualBytes) == (1, 9999))
        #expect(entry.startTicks == 4242)
        #expect(entry.residentBytes == 10 * UInt64(sysconf(Int32(_SC_PAGESIZE))))
    }

    @Test("a name that is not UTF-8 does not hide the process")
    func bytesInName() throws {
        let text = Array("77 (".utf8) + [0xff, 0xfe] + Array(") \(Self.fields)\n".utf8)
        #expect(try #require(ProcessEntry(statText: text)).session == 56)
    }

    @Test("a text cut off anywhere before the fields needed is no entry, and traps nothing")
    func truncated() throws {
        let text = Array("77 (x) \(Self.fields)\n".utf8)
        // The last field needed is the 24th, the one in front of the long number.
        let spaces = text.indices.filter { text[$0] == UInt8(ascii: " ") }
        let end = try #require(spaces.dropLast().last)
        #expect(ProcessEntry(statText: Array(text[..<(end + 2)])) != nil)
        for count in 0...end { #expect(ProcessEntry(statText: Array(text[..<count])) == nil) }
    }

    @Test("a real process with a hostile name is found with its parent and session")
    func realHostileName() throws {
        let directory = try TemporaryDirectory()
        let program = directory.file("a) R (\n1")
        try FileManager.default.copyItem(atPath: "/bin/sleep", toPath: program)
        let child = try TestChild([program, "60"])
        let entry = try #require(ProcessTable.entry(of: child.pid))
        #expect(entry.name == "a) R (?1")
        #expect((entry.parent, entry.group, entry.session) == (getpid(), child.pid, child.pid))
        #expect(!entry.hasEnded)
        #expect(try ProcessTable.all().contains { $0.pid == child.pid && $0.startTicks == entry.startTicks })
        child.signal(SIGKILL)
        try child.waitForEnd()
        #expect(try #require(ProcessTable.entry(of: child.pid)).hasEnded)
    }

    @Test("a process that is gone is nil everywhere, not an error")
    func vanished() throws {
        var child: TestChild? = try TestChild(["/bin/sleep", "60"])
        let pid = try #require(child).pid
        child = nil
        #expect(ProcessTable.entry(of: pid) == nil)
        #expect(ProcessTable.environmentValue("PATH", of: pid) == nil)
        #expect(ProcessTable.search(pid, forSockets: [1]) == .absent)
        #expect(ProcessTable.children(of: pid) ?? [] == [])
    }

    @Test("variables are found by their whole name, the first one counts, and large environments are searched")
    func environment() throws {
        let large = (0..<20).map { "FILL\($0)=" + String(repeating: "x", count: 100_000) }
        let child = try TestChild(
            ["/bin/sleep", "60"],
            environment: ["XSUPD_SCOPE=no"] + large + ["SUPD_SCOPE=/run/supd#1#api/2#3", "SUPD_SCOPE=2", "E="])
        #expect(ProcessTable.environmentValue("SUPD_SCOPE", of: child.pid) == "/run/supd#1#api/2#3")
        #expect(ProcessTable.environmentValue("E", of: child.pid) == "")
        #expect(ProcessTable.environmentValue("SUPD", of: child.pid) == nil)
    }

    @Test("a variable is found wherever it lies against the first part that is read", arguments: 4000...4100)
    func variableAtBoundary(before: Int) throws {
        let child = try TestChild(
            ["/bin/sleep", "60"],
            environment: ["F=" + String(repeating: "x", count: before - 3), "SUPD_SCOPE=0123456789"])
        #expect(ProcessTable.environmentValue("SUPD_SCOPE", of: child.pid) == "0123456789")
        #expect(ProcessTable.environmentValue("NONE", of: child.pid) == nil)
    }

    @Test("the children of a process are listed")
    func children() throws {
        let child = try TestChild(["/bin/sh", "-c", "sleep 60 & echo $!; wait"])
        let grandchild = try #require(Int32(try child.line()))
        #expect(ProcessTable.children(of: child.pid) == [grandchild])
    }

    @Test("a socket is found in the process that holds it, and only there")
    func sockets() throws {
        let listener = try testListener()
        let wanted = try inode(of: listener.socket)
        let holder = try TestChild(["/bin/sleep", "60"], descriptors: [listener.socket])
        let other = try TestChild(["/bin/sleep", "60"])
        #expect(ProcessTable.search(getpid(), forSockets: [wanted]) == .found(inode: wanted))
        #expect(ProcessTable.search(holder.pid, forSockets: [1, wanted]) == .found(inode: wanted))
        #expect(ProcessTable.search(other.pid, forSockets: [wanted]) == .absent)
    }
}

@Suite struct VerifiedSignalTests {
    @Test("a process that is still meant gets the signal")
    func meant() throws {
        let child = try TestChild(["/bin/sleep", "60"])
        #expect(try ProcessDescriptor.signal(SIGKILL, to: child.pid) { $0 == child.pid })
        try child.waitForEnd()
        try ProcessDescriptor(pid: child.pid).waitForEnd(milliseconds: 60_000)
    }

    @Test("a process that is not meant any more gets none")
    func notMeant() throws {
        let child = try TestChild(["/bin/sh", "-c", "trap 'echo hit' USR1; echo up; while :; do sleep 0.01; done"])
        #expect(try child.line() == "up")
        #expect(try !ProcessDescriptor.signal(SIGUSR1, to: child.pid) { _ in false })
        child.signal(SIGTERM)
        #expect(throws: TestFailure.self) { try child.line() }
    }

    @Test("a pid that nobody has is no error")
    func gone() throws {
        var child: TestChild? = try TestChild(["/bin/sleep", "60"])
        let pid = try #require(child).pid
        child = nil
        #expect(try !ProcessDescriptor.signal(SIGKILL, to: pid) { _ in true })
    }
}

@Suite struct ProcessScopeTests {
    @Test(
        "a mark survives being text, whatever the directory is called",
        arguments: ["/run/supd", "/tmp/a#b", "/tmp/100%", "/tmp/%23#%25", "/tmp/ä ö", "/"])
    func roundTrip(directory: String) {
        let scope = ProcessScope(runtimeDirectory: directory, nonce: "12-ab")
        #expect(scope.description.split(separator: "#", omittingEmptySubsequences: false).count == 2)
        #expect(ProcessScope(scope.description) == scope)
        let mark = ProcessMark(scope: scope, instance: "api/2", generation: .max)
        #expect(ProcessMark(mark.description) == mark)
        #expect(mark.description.hasPrefix("\(scope)#api/2#"))
    }

    @Test(
        "anything else is no mark",
        arguments: [
            "", "#", "###", "/run/supd#1", "/run/supd#1#api/2#", "/run/supd#1#api/2#x", "/r#1##2", "/r#1#a#2#3",
            "/%2#1#a#2",
        ])
    func rejected(text: String) { #expect(ProcessMark(text) == nil) }
}
