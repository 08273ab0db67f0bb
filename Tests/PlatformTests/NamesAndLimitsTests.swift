import Glibc
import Platform
import TestSupport
import Testing

@Suite struct SignalsTests {
    @Test(
        "a signal has one number, however it is written",
        arguments: [
            ("TERM", SIGTERM), ("SIGTERM", SIGTERM), ("term", SIGTERM), ("15", SIGTERM), ("KILL", SIGKILL),
            ("9", SIGKILL),
            ("IOT", SIGABRT), ("POLL", SIGIO), ("RTMIN", __libc_current_sigrtmin()),
            ("RTMIN+3", __libc_current_sigrtmin() + 3), ("SIGRTMAX", __libc_current_sigrtmax()),
            ("rtmax-1", __libc_current_sigrtmax() - 1),
        ])
    func numbers(text: String, number: Int32) { #expect(Signals.number(of: text) == number) }

    @Test(
        "what is no signal has no number",
        arguments: [
            "", "SIG", "0", "-1", "65", "32", "999999999999", "TERMX", "RTMIN+", "RTMIN+31", "RTMIN+99", "RTMIN+-1",
            "RTMIN++1", "RTMAX-31", "RTMAX+1", "RTMIN+1 ", "RTMIN+１",
        ])
    func nothing(text: String) { #expect(Signals.number(of: text) == nil) }

    @Test("every signal's name leads back to its number")
    func roundTrip() throws {
        var count = 0
        for number in Int32(-1)...100 {
            guard let name = Signals.name(of: number) else { continue }
            #expect(Signals.number(of: name) == number)
            count += 1
        }
        #expect(count == 31 + Int(__libc_current_sigrtmax() - __libc_current_sigrtmin()) + 1)
        #expect(Signals.name(of: SIGXCPU) == "SIGXCPU")
    }
}

@Suite struct ResourceLimitsTests {
    @Test("every name has a number of its own and leads back")
    func names() throws {
        #expect(ResourceLimits.names.count == 16)
        for name in ResourceLimits.names {
            #expect(ResourceLimits.name(of: try #require(ResourceLimits.number(of: name))) == name)
        }
        #expect(ResourceLimits.number(of: "nofile") == Int32(RLIMIT_NOFILE.rawValue))
        #expect(ResourceLimits.number(of: "stack") == Int32(RLIMIT_STACK.rawValue))
        #expect(ResourceLimits.number(of: "rttimes") == nil)
        #expect(ResourceLimits.name(of: 16) == nil)
    }

    @Test("all limits of a process are read from /proc, as getrlimit tells them")
    func own() throws {
        let limits = try ResourceLimits.inForce(of: getpid())
        for name in ResourceLimits.names {
            #expect(limits[name] == (try ResourceLimits.own(try #require(ResourceLimits.number(of: name)))), "\(name)")
        }
    }

    @Test("a limit set in another process is in force there")
    func set() throws {
        let child = try TestChild(["/bin/sleep", "60"])
        let nofile = try #require(ResourceLimits.number(of: "nofile"))
        let before = try ResourceLimits.set(nofile, of: child.pid, to: LimitPair(soft: 77, hard: 99))
        #expect(before == (try ResourceLimits.own(nofile)))
        #expect(try ResourceLimits.inForce(of: child.pid)["nofile"] == LimitPair(soft: 77, hard: 99))
        let core = try #require(ResourceLimits.number(of: "core"))
        try ResourceLimits.set(core, of: child.pid, to: LimitPair(soft: 0, hard: LimitPair.unlimited))
        #expect(try ResourceLimits.inForce(of: child.pid)["core"] == LimitPair(soft: 0, hard: LimitPair.unlimited))
    }

    @Test("a soft limit above the hard one is refused with the limit's name")
    func refused() throws {
        let child = try TestChild(["/bin/sleep", "60"])
        let error = #expect(throws: SystemError.self) {
            try ResourceLimits.set(7, of: child.pid, to: LimitPair(soft: 2, hard: 1))
        }
        #expect(error?.code == EINVAL)
        #expect(error?.subject.contains("nofile") == true)
    }

    @Test("lines that are not known or are cut are left out")
    func parsing() {
        let text = """
            Limit                     Soft Limit           Hard Limit           Units     
            Max cpu time              unlimited            60                   seconds   
            Max file size             1024                 unlimited            bytes     
            Max new thing             1                    2                    bytes     
            Max open files            12
            Max stack size            x                    2                    bytes     
            """
        #expect(
            ResourceLimits.parse(Array(text.utf8)) == [
                "cpu": LimitPair(soft: LimitPair.unlimited, hard: 60),
                "fsize": LimitPair(soft: 1024, hard: LimitPair.unlimited),
            ])
    }
}

@Suite struct AccountsTests {
    @Test("root is found by name and by number")
    func root() throws {
        let account = try #require(try Accounts.account(named: "root"))
        #expect((account.user, account.group) == (0, 0))
        #expect(account.home.hasPrefix("/"))
        #expect(try Accounts.account(of: 0) == account)
        #expect(try Accounts.group(named: "root") == 0)
        #expect(try Accounts.groups(ofUserNamed: "root", primary: 4711).contains(4711))
    }

    @Test("what the database does not know is nil", arguments: ["no-such-user-here", "", "root\u{0}x", "a:b"])
    func unknown(name: String) throws {
        #expect(try Accounts.account(named: name) == nil)
        #expect(try Accounts.group(named: name) == nil)
    }

    @Test("an unknown id is nil")
    func unknownID() throws { #expect(try Accounts.account(of: 3_999_999_999) == nil) }
}

@Suite struct FilesTests {
    @Test("a file is read up to its limit and not beyond")
    func limit() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("f", String(repeating: "x", count: 10_000))
        #expect(try Files.read(path, limit: 10_000).count == 10_000)
        #expect(throws: SystemError(call: "read", code: EFBIG, subject: path)) { try Files.read(path, limit: 9_999) }
        #expect(try Files.readPrefix(path, count: 5) == Array("xxxxx".utf8))
        #expect(try Files.read("/proc/self/stat", limit: 4096).isEmpty == false)
    }

    @Test("what is no regular file is refused without waiting")
    func kinds() throws {
        let directory = try TemporaryDirectory()
        try systemCall("mkfifo") { mkfifo(directory.file("pipe"), 0o600) }
        #expect(throws: SystemError(call: "read", code: EINVAL, subject: directory.file("pipe"))) {
            try Files.read(directory.file("pipe"), limit: 10)
        }
        #expect(throws: SystemError(call: "read", code: EISDIR, subject: "/tmp")) { try Files.read("/tmp", limit: 10) }
        #expect(throws: SystemError(call: "open", code: ENOENT, subject: directory.file("none"))) {
            try Files.read(directory.file("none"), limit: 10)
        }
        #expect(throws: SystemError.self) { try Files.read("/etc/passwd\u{0}x", limit: 1 << 20) }
    }

    @Test("names of a directory come without the dots, and no more than asked for")
    func names() throws {
        let directory = try TemporaryDirectory()
        for name in ["a", "...", ".b"] { _ = try directory.write(name, "") }
        #expect(try Set(Files.names(in: directory.path, limit: 100)) == ["a", "...", ".b"])
        #expect(try Files.names(in: directory.path, limit: 2).count == 2)
    }
}
