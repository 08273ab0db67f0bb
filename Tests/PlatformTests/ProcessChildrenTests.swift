import Glibc
import Platform
import TestSupport
import Testing

@Suite("Reading about processes") struct ProcessChildrenTests {
    @Test(
        "understands /proc/PID/stat whatever a program calls itself",
        arguments: [
            ("1 (init) S 0 1 1 0 -1", 1, "S", 0, 1), ("22 (a b) Z 7 8 9", 22, "Z", 7, 8),
            ("3 ()) R 1 2) (x) R 4 5 6 7", 3, "R", 4, 5),
        ] as [(String, Int32, Character, Int32, Int32)])
    func entries(line: String, pid: Int32, state: Character, parent: Int32, group: Int32) throws {
        let entry = try #require(ProcessEntry(Array(line.utf8)))
        #expect(entry.pid == pid && entry.parent == parent && entry.group == group)
        #expect(Character(UnicodeScalar(entry.state)) == state)
        #expect(entry.isZombie == (state == "Z"))
    }

    @Test("takes nothing else for it", arguments: ["", "1", "1 (", "1 (x)", "1 (x) S 2", ")(", "x (y) S 1 2 3", "1 (x) S y 2 3"])
    func noEntries(line: String) { #expect(ProcessEntry(Array(line.utf8)) == nil) }

    @Test("finds itself among all processes")
    func all() throws {
        let own = try #require(try ProcessEntry.all().first { $0.pid == getpid() })
        #expect(own.parent == getppid())
        #expect(own.group == getpgrp())
    }

    @Test("lists the children of a thread, by the kernel's list and by looking through all processes")
    func children() throws {
        let list = ProcessChildren()
        var spawn = Spawn(candidates: ["/bin/sleep", "/usr/bin/sleep"], arguments: ["sleep", "1000"], environment: [])
        spawn.directory = "/"
        let forked = try spawn.start()
        #expect(try list.list().contains(forked.pid))
        #expect(try ProcessChildren(byScanning: ()).list().contains(forked.pid))
        try forked.process.signal(SIGKILL)
        try SpawnTests.wait(forked.process.descriptor)
        #expect(try list.list().contains(forked.pid))
        _ = try forked.process.exit()
        #expect(try !list.list().contains(forked.pid))
        #expect(try !ProcessChildren(byScanning: ()).list().contains(forked.pid))
    }

    @Test("reads one variable of another process's environment")
    func environment() throws {
        let spawn = Spawn(
            candidates: ["/bin/sleep", "/usr/bin/sleep"], arguments: ["sleep", "1000"],
            environment: ["XSCOPE=no", "SCOPE=a=b", "EMPTY=", "LONG=" + String(repeating: "x", count: 5000)])
        let forked = try spawn.start()
        try SpawnTests.wait(forked.status)
        #expect(environmentValue(of: forked.pid, "SCOPE") == "a=b")
        #expect(environmentValue(of: forked.pid, "EMPTY") == "")
        #expect(environmentValue(of: forked.pid, "SCOP") == nil)
        #expect(environmentValue(of: forked.pid, "LONG") == nil)
        try forked.process.signal(SIGKILL)
        try SpawnTests.wait(forked.process.descriptor)
        _ = try forked.process.exit()
        #expect(environmentValue(of: forked.pid, "SCOPE") == nil)
    }
}
