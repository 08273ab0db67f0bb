/// What probably lies behind the end of a process, and what to do about it: from how it ended, what it wrote last, and its
/// limits. A guess, and said to be one.
enum LikelyCause {
    /// A guess.
    struct Guess: Equatable {
        /// Nil: the end itself says it.
        var cause: String?
        var help: String?
        /// What ran out, if it was that.
        var resource: Resource?
        /// The line of the log that it rests on.
        var line: String?
        /// What it wrote last, where that may say more than the guess does, which rests on another line or on none.
        var lastLine: String?

        init(_ cause: String?, help: String? = nil, of resource: Resource? = nil) {
            self.cause = cause
            self.help = help
            self.resource = resource
        }
    }

    /// What can run out, of which the past is kept.
    enum Resource: Equatable {
        case memory, descriptors, threads
    }

    /// What is known of an end.
    struct Evidence {
        /// The code of exit(3).
        var code: Int32?
        /// `SIGKILL`.
        var signal: String?
        /// In the core's words, which name a limit whose signal it is.
        var reason = ""
        /// Whether supd was ending it, or had given it up.
        var wasStopped = false
        /// Whether its work is done when it ends by itself.
        var isTask = false
        /// The last lines of its log, the last one last.
        var log: [String] = []
        /// How many processes the kernel has ended for want of memory; nil: it does not tell.
        var memoryKills: UInt64?
        /// Its soft limits by name, as people write them: `1G`; without those that are unlimited.
        var limits: [String: String] = [:]
    }

    /// The guess; nil: nothing is to be guessed, for the end itself says it, or says nothing.
    static func guess(_ evidence: Evidence) -> Guess? {
        if evidence.wasStopped, evidence.signal != nil || evidence.code == 0 { return nil }
        if evidence.isTask, evidence.code == 0 { return nil }
        var guess =
            ofLimit(evidence) ?? ofLog(evidence) ?? evidence.signal.flatMap { ofSignal($0, evidence) }
            ?? evidence.code.flatMap(ofCode)
        // A shell says what it did not find, and an assertion what did not hold.
        if evidence.signal == "SIGABRT" || (126...192).contains(evidence.code ?? 0), guess?.line == nil {
            guess?.lastLine = LastLine.telling(evidence.log)
        }
        return guess
    }

    /// What to do about a start that came to nothing, whose reason says what it was.
    static func ofStart(_ reason: String) -> Guess? {
        let words = reason.lowercased()
        if words.contains("environment file") { return Guess(nil, help: ofEnvironmentFile(words)) }
        if words.contains("change directory") {
            let enter = "may its user: enter that directory, and all above it (x in \"ls -ld\")?"
            let make = "make the directory, or change directory in the manifest and apply"
            return Guess(nil, help: words.contains("permission denied") ? enter : make)
        }
        if words.contains("it is a directory") {
            return Guess(nil, help: "command names a directory: the path of the program in it is meant")
        }
        if words.contains("no such file") {
            return Guess(nil, help: "is it installed there? A relative path is taken from directory in the manifest")
        }
        if words.contains("cannot find"), words.contains("in path") {
            return Guess(
                nil, help: "is it installed? The whole path in command, or PATH in environment, says where it is")
        }
        if words.contains("permission denied") {
            return Guess(nil, help: "is it executable (chmod +x), and may its user: reach it?")
        }
        if words.contains("there is no such user") {
            return Guess(nil, help: "make the user (useradd --system), or change user in the manifest and apply")
        }
        if words.contains("there is no such group") {
            return Guess(nil, help: "make the group (groupadd --system), or change group in the manifest and apply")
        }
        if words.contains("is in use by") {
            let other = "or change port in the manifest and apply (without it supd takes a free one)"
            return Guess(nil, help: "end the one that has the port, \(other)")
        }
        return nil
    }

    private static func ofEnvironmentFile(_ words: String) -> String {
        if words.contains("cannot read"), words.contains("no such file") {
            return
                "make the file, or take it out of environmentFiles in the manifest and apply; a relative path is taken "
                + "from the manifest's own folder"
        }
        if words.contains("cannot read") {
            return "supd itself reads it, before the user is switched: it has to be a regular file that supd may read"
        }
        return "mend that line: each is VARIABLE=value, a comment that begins with #, or empty"
    }

    /// Of an end whose reason names the limit there is nothing to guess, but something to do.
    private static func ofLimit(_ evidence: Evidence) -> Guess? {
        switch evidence.signal {
        case "SIGXCPU" where evidence.reason.contains("cpu limit"),
            "SIGKILL" where evidence.reason.contains("cpu limit"):
            Guess(nil, help: raise("cpu"))
        case "SIGXFSZ" where evidence.reason.contains("fsize limit"): Guess(nil, help: raise("fsize"))
        case "SIGSEGV" where evidence.reason.contains("stack limit"):
            Guess(nil, help: "\(raise("stack")); if that does not help, it is a defect in the program")
        default: nil
        }
    }

    // MARK: What it wrote

    /// Words of the C library's messages, and of those who hide them, with what they mean here.
    private static let words: [(words: [String], guess: @Sendable (Evidence) -> Guess)] = [
        (
            ["address already in use", "eaddrinuse"],
            { _ in
                Guess(
                    "its port is taken",
                    help: "let it listen on $PORT, which is its own; \"ss -ltnp\" shows who has the other one")
            }
        ),
        (
            ["too many open files", "emfile"],
            {
                Guess(
                    "it has reached its limit of open files\(limit("nofile", $0))", help: raise("nofile"),
                    of: .descriptors)
            }
        ),
        (
            ["cannot allocate memory", "out of memory", "bad_alloc", "memoryerror", "enomem"],
            ofMemory
        ),
        (
            ["resource temporarily unavailable", "cannot fork", "can't start new thread"],
            {
                Guess(
                    "it could have no more processes or threads\(limit("nproc", $0))", help: raise("nproc"),
                    of: .threads)
            }
        ),
        (
            ["postmaster.pid", "already running", "could not lock", "resource busy"],
            { _ in
                Guess(
                    "another process has what only one may have",
                    help: "a program that must not run twice at a time needs deploy: { surge: 0 }")
            }
        ),
        (
            ["no space left on device", "enospc"],
            { _ in Guess("a disk is full", help: "\"df -h\" shows which") }
        ),
        (
            ["file size limit exceeded", "file too large"],
            { Guess("it has reached its limit of file sizes\(limit("fsize", $0))", help: raise("fsize")) }
        ),
        (
            ["permission denied", "eacces"],
            { _ in
                Guess(
                    "it may not do or open something",
                    help: "look at the line above, and at its user: in the manifest, and the owner of what it opens")
            }
        ),
        (
            ["connection refused", "econnrefused"],
            { _ in
                Guess(
                    "something that it connects to was not there",
                    help: "name what it needs in dependsOn: then it is started first, and is ready before")
            }
        ),
        (
            ["no such file or directory", "enoent", "modulenotfounderror", "cannot find module"],
            { _ in
                Guess(
                    "a file that it needs is missing", help: "is directory right in the manifest, and is all installed?"
                )
            }
        ),
    ]

    private static func ofLog(_ evidence: Evidence) -> Guess? {
        // The last line that means something counts: what follows it is often its trace, or why that was the end.
        let last = LastLine.telling(evidence.log)
        let isError = last.map(LastLine.saysError) ?? false
        for line in evidence.log.reversed() {
            let words = line.lowercased()
            guard let found = Self.words.first(where: { entry in entry.words.contains { words.contains($0) } }) else {
                continue
            }
            // What a program only warns of it has survived, if it says afterwards what it has ended for.
            if isError, line != last, LastLine.isMild(line) { continue }
            var guess = found.guess(evidence)
            guess.line = line
            if line != last { guess.lastLine = last }
            return guess
        }
        return nil
    }

    /// The kernel says the same for each of the limits of memory, and where there is none left.
    @Sendable private static func ofMemory(_ evidence: Evidence) -> Guess {
        let set = ["as", "data", "memlock"].filter { evidence.limits[$0] != nil }
        // Few programs lock memory, and most of those go on without; its limit is small without anybody having set it.
        let words = ["mlock", "memlock", "locked"]
        let speaksOfLocks = evidence.log.contains { line in words.contains { line.contains($0) } }
        guard let name = set.first, name != "memlock" || speaksOfLocks else {
            return Guess(
                "there was no memory left", help: "\"free -m\" and \"supctl top\" show who has it", of: .memory)
        }
        let shown = set.filter { $0 != "memlock" || $0 == name }.map { "\($0) \(evidence.limits[$0] ?? "")" }
        let what = name == "memlock" ? "locked memory" : "memory"
        return Guess(
            "it has reached its limit of \(what) (\(shown.joined(separator: ", ")))", help: raise(name), of: .memory)
    }

    private static func limit(_ name: String, _ evidence: Evidence) -> String {
        evidence.limits[name].map { " (\(name) \($0))" } ?? ""
    }

    private static func raise(_ name: String) -> String {
        "raise limits.\(name) in the manifest, or at once: \"supctl limit NAME \(name)=…\""
    }

    // MARK: How it ended

    private static func ofSignal(_ signal: String, _ evidence: Evidence) -> Guess? {
        switch signal {
        case "SIGKILL":
            killed(evidence)
        case "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE":
            Guess(
                "a defect in the program",
                help: "with limits: { core: \"unlimited\" } it leaves a core dump for a debugger")
        case "SIGABRT": Guess("it gave up by itself: an assertion, or an exception that nobody caught")
        case "SIGXCPU": Guess("it has used up its limit of CPU time\(limit("cpu", evidence))", help: raise("cpu"))
        case "SIGXFSZ": Guess("it has reached its limit of file sizes\(limit("fsize", evidence))", help: raise("fsize"))
        case "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP": Guess("not by supd: somebody has sent it the signal")
        case "SIGPIPE": Guess("it wrote to a connection that had ended, which a server should expect")
        case "SIGSYS": Guess("a system call that is forbidden to it")
        default: nil
        }
    }

    private static func killed(_ evidence: Evidence) -> Guess {
        guard evidence.memoryKills != 0 else {
            return Guess(
                "not by supd, and not by the kernel for want of memory, which has not happened since the start: somebody's kill -9"
            )
        }
        let count =
            evidence.memoryKills.map { " (it has done so \($0 == 1 ? "once" : "\($0) times") since the start)" } ?? ""
        return Guess(
            "not by supd: the kernel, for want of memory\(count), or somebody's kill -9",
            help: "\"journalctl -k -g 'out of memory'\" (or dmesg) tells whether it was the kernel", of: .memory)
    }

    private static func ofCode(_ code: Int32) -> Guess? {
        switch code {
        case 0:
            Guess(
                "it ended as if its work were done",
                help: "if it is, make it a task, or set restart: { policy: \"on-failure\" }")
        case 126:
            Guess("a shell could not execute a command", help: "is it executable (chmod +x), and for this machine?")
        case 127:
            Guess("a shell did not find a command", help: "is it installed, and is PATH what the program expects?")
        case 129...192: ofSignalCode(code - 128)
        default: nil
        }
    }

    /// A shell says so that a signal has ended its command.
    private static func ofSignalCode(_ signal: Int32) -> Guess? {
        switch signal {
        case 9: Guess("a command of it was killed by SIGKILL: by the kernel, for want of memory, or by somebody")
        case 6, 11: Guess("a command of it has crashed (signal \(signal))")
        default: Guess("a command of it was ended by signal \(signal)")
        }
    }
}
