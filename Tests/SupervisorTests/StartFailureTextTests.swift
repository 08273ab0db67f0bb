import FoundationEssentials
import Links
import Platform
import TestSupport
import Testing

@testable import Supervisor

@Suite struct StartFailureTextTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func plan(
        _ candidates: String..., program: String? = nil, directory: String = "/",
        credentials: SpawnPlan.Credentials? = nil,
        limits: [SpawnPlan.Limit] = []
    ) -> SpawnPlan {
        SpawnPlan(
            id: 1, label: "", candidates: candidates, arguments: [program ?? candidates.first ?? ""], environment: [],
            directory: directory, credentials: credentials, limits: limits)
    }

    private func text(_ stage: SpawnFailure.Stage, _ code: Int32, _ plan: SpawnPlan, limit: Int32? = nil) -> String {
        StartFailureText.text(for: SpawnFailure(stage: stage, code: code, limit: limit), of: plan)
    }

    /// Tries to run a file for real, and says why the kernel would not.
    private func refusal(_ path: String) throws -> String {
        let error = #expect(throws: SystemError.self) { try TestChild([path]) }
        return text(.execute, try #require(error).code, plan(path))
    }

    private func file(_ name: String, _ bytes: [UInt8], mode: Int = 0o755) throws -> String {
        let path = try directory.writeProgram(name, bytes)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        return path
    }

    private func script(_ text: String) throws -> String { try file("script", Array(text.utf8)) }

    @Test("a program that is not there")
    func missing() throws {
        let path = directory.file("api")
        #expect(try refusal(path) == "cannot run \(path): No such file or directory")
        #expect(
            text(.execute, ErrorCode.notFound, plan("/no/such/a/api", "/no/such/b/api", program: "api"))
                == "cannot find 'api' in PATH (/no/such/a:/no/such/b)")
    }

    @Test("a script whose interpreter is not there")
    func interpreter() throws {
        let path = try script("#! /opt/no/python -u\n")
        #expect(
            try refusal(path)
                == "cannot run \(path): its interpreter /opt/no/python (named in its first line) does not exist")
    }

    @Test("a script with carriage returns")
    func carriageReturn() throws {
        let path = try script("#!/bin/sh\r\necho\r\n")
        let text = try refusal(path)
        #expect(text.contains("carriage return"))
    }

    @Test("a script without a first line, and an empty file")
    func noForm() throws {
        let path = try script("echo hello\n")
        #expect(
            try refusal(path)
                == "cannot run \(path): Exec format error; it is neither a program nor a script that begins with #! "
                + "and its interpreter, such as #!/bin/sh")
        #expect(try refusal(try file("empty", [])).hasSuffix("; the file is empty"))
    }

    @Test("a program for another machine")
    func machine() throws {
        guard case .elf(let own, _) = try ProgramFile(path: "/proc/self/exe").form else {
            throw TestFailure("this program is no ELF file")
        }
        var program = try Files.readPrefix("/bin/true", count: 1 << 20)
        program[18] = 243
        program[19] = 0
        let path = try file("foreign", program)
        #expect(
            try refusal(path)
                == "cannot run \(path): Exec format error; it was built for RISC-V, and this machine is "
                + ProgramFile.machineName(own))
    }

    @Test("a program whose dynamic loader is not there")
    func loader() throws {
        var program = try Files.readPrefix("/bin/true", count: 1 << 20)
        guard case .elf(_, let loader?) = ProgramFile(prefix: program).form else {
            throw TestFailure("/bin/true has no dynamic loader")
        }
        let wanted = Array(loader.utf8)
        let place = try #require(program.indices.first { program[$0...].starts(with: wanted) })
        program[place + 1] = UInt8(ascii: "X")
        let path = try file("musl", program)
        #expect(try refusal(path).contains("its dynamic loader /X"))
    }

    @Test("a file that may not be run")
    func mode() throws {
        let path = try file("api", Array("#!/bin/sh\n".utf8), mode: 0o644)
        #expect(try refusal(path) == "cannot run \(path): Permission denied; it is not executable; use chmod +x")
        #expect(try refusal(directory.path).hasSuffix("; it is a directory"))
    }

    @Test("a script whose interpreter may not be run")
    func interpreterMode() throws {
        let interpreter = try file("interpreter", [], mode: 0o644)
        let path = try script("#!\(interpreter)\n")
        #expect(try refusal(path).hasSuffix("; its interpreter \(interpreter): it is not executable; use chmod +x"))
    }

    @Test("a folder that the user may not enter, and a file that is not for the user")
    func otherUser() throws {
        let nobody = try #require(try Accounts.account(named: "nobody"))
        let credentials = SpawnPlan.Credentials(user: nobody.user, group: nobody.group, supplementary: [])
        let path = try file("api", Array("#!/bin/sh\n".utf8), mode: 0o750)
        // mkdtemp(3) makes directories for their owner alone.
        #expect(
            text(.execute, ErrorCode.accessDenied, plan(path, credentials: credentials))
                == "cannot run \(path): Permission denied; user nobody may not enter \(directory.path)")
        #expect(
            text(
                .directory, ErrorCode.accessDenied,
                plan("/bin/true", directory: directory.path, credentials: credentials))
                == "cannot change directory to \(directory.path): Permission denied; user nobody may not enter "
                + directory.path)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory.path)
        #expect(
            text(.execute, ErrorCode.accessDenied, plan(path, credentials: credentials))
                == "cannot run \(path): Permission denied; its permissions (0750) do not let user nobody run it")
    }

    @Test("a directory that is not there")
    func noDirectory() {
        #expect(
            text(.directory, ErrorCode.notFound, plan("/bin/true", directory: "/srv/api"))
                == "cannot change directory to /srv/api: No such file or directory")
    }

    @Test("a limit above what supd may give, and one above what the kernel allows")
    func limits() throws {
        let nofile = try #require(ResourceLimits.number(of: "nofile"))
        let most = try ResourceLimits.own(nofile).hard
        func limit(_ soft: UInt64, _ hard: UInt64) -> [SpawnPlan.Limit] {
            [SpawnPlan.Limit(resource: nofile, soft: soft, hard: hard)]
        }
        #expect(
            text(.limit, ErrorCode.notPermitted, plan("/bin/true", limits: limit(1, .max)), limit: nofile)
                .hasPrefix("cannot set limits.nofile to 1:unlimited: Operation not permitted; fs.nr_open allows "))
        if most < .max {
            let plan = plan("/bin/true", limits: limit(most + 1, most + 1))
            let text = text(.limit, ErrorCode.notPermitted, plan, limit: nofile)
            #expect(text.hasPrefix("cannot set limits.nofile to \(most + 1): Operation not permitted; "))
        }
        #expect(
            text(.limit, ErrorCode.invalid, plan("/bin/true", limits: limit(2, 1)), limit: nofile)
                == "cannot set limits.nofile to 2:1: Invalid argument; the soft limit is above the hard one")
    }

    @Test("too many processes of a user")
    func processes() throws {
        let credentials = SpawnPlan.Credentials(user: 3_999_999_999, group: 1, supplementary: [])
        #expect(
            text(.execute, ErrorCode.tryAgain, plan("/bin/true", credentials: credentials))
                == "cannot run /bin/true: Resource temporarily unavailable; user id 3999999999 has more processes "
                + "(threads included) than limits.nproc allows")
    }

    @Test("every stage has words for every error, and never traps", arguments: SpawnFailure.Stage.allCases)
    func total(stage: SpawnFailure.Stage) {
        let credentials = SpawnPlan.Credentials(user: 1, group: 1, supplementary: [])
        for code in Int32(0)...140 {
            for plan in [plan(), plan("/bin/true", credentials: credentials), plan("/x", "/bin/true", program: "true")]
            {
                let text = text(stage, code, plan, limit: code)
                #expect(text.hasPrefix("cannot "))
                #expect(!text.contains("\n"))
            }
        }
    }

    @Test("any bytes are read as some form of file")
    func anyBytes() throws {
        let program = try Files.readPrefix("/bin/true", count: 4096)
        for count in 0..<600 { _ = ProgramFile(prefix: Array(program.prefix(count))) }
        // Every field of the header and of the first program headers, with every extreme.
        for place in 4..<400 {
            for value in [0, 1, 0x7f, 0x80, 0xff] as [UInt8] {
                var bytes = program
                for offset in place..<(place + 8) { bytes[offset] = value }
                _ = ProgramFile(prefix: bytes)
            }
        }
        #expect(ProgramFile(prefix: Array("#!".utf8)).form == .script(interpreter: ""))
        #expect(ProgramFile(prefix: Array("#! \t/bin/sh -e\nx".utf8)).form == .script(interpreter: "/bin/sh"))
    }
}
