import Glibc
import Platform
import TestSupport
import Testing

@Suite("The children of a thread") struct ProcessChildrenTests {
    @Test("are listed by the kernel's list and by looking through all processes")
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

    @Test("are all listed when there are many")
    func manyChildren() throws {
        let list = ProcessChildren()
        var spawn = Spawn(candidates: ["/bin/sleep", "/usr/bin/sleep"], arguments: ["sleep", "1000"], environment: [])
        spawn.directory = "/"
        // Numbers of at least one digit and a blank: more than a short read takes.
        var children: [Spawn.Forked] = []
        defer {
            for child in children {
                try? child.process.signal(SIGKILL)
                _ = try? SpawnTests.wait(child.process.descriptor)
                _ = try? child.process.exit()
            }
        }
        for _ in 0..<520 { children.append(try spawn.start()) }
        #expect(Set(try list.list()).isSuperset(of: children.map(\.pid)))
    }
}
