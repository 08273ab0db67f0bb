package import Links
import Platform

/// Says in words why the keeper could not start a process. It looks at the files meant, so it is for failures only.
package enum StartFailureText {
    /// A complete sentence without a full stop: "cannot change directory to /srv/api: No such file or directory".
    package static func text(for failure: SpawnFailure, of plan: SpawnPlan) -> String {
        let reason = errorMessage(failure.code)
        switch failure.stage {
        case .prepare, .fork:
            return "cannot start a process: \(reason)" + shortage(failure.code)
        case .session: return "cannot begin a session: \(reason)"
        case .descriptors: return "cannot set up standard input and output: \(reason)" + shortage(failure.code)
        case .signals: return "cannot reset signals: \(reason)"
        case .oomScore: return "cannot reset /proc/self/oom_score_adj: \(reason)"
        case .limit: return limitText(failure, plan)
        case .groups, .group, .user: return identityText(failure, plan)
        case .directory: return directoryText(failure, plan)
        case .parentDeath: return "cannot tie the process to supd: \(reason)"
        case .execute: return executeText(failure, plan)
        }
    }

    private static func shortage(_ code: Int32) -> String {
        switch code {
        case ErrorCode.tooManyFiles: "; raise supd's own limit on open files (LimitNOFILE= in its unit)"
        case ErrorCode.tooManyFilesInSystem: "; the machine has no files left, see fs.file-max"
        case ErrorCode.tryAgain:
            "; a limit on processes is reached: supd's own (TasksMax=, LimitNPROC= in its unit), or kernel.pid_max"
        case ErrorCode.outOfMemory: "; the machine has no memory left, or too many processes"
        default: ""
        }
    }

    // MARK: Limits

    private static func limitText(_ failure: SpawnFailure, _ plan: SpawnPlan) -> String {
        let reason = errorMessage(failure.code)
        guard let number = failure.limit, let limit = plan.limits.first(where: { $0.resource == number }) else {
            return "cannot set a limit: \(reason)"
        }
        let name = ResourceLimits.name(of: number) ?? "\(number)"
        let wanted = LimitPair(soft: limit.soft, hard: limit.hard)
        let why = LimitText.refusal(
            of: name, to: wanted, code: failure.code, current: try? ResourceLimits.own(number), whose: "supd's own")
        return "cannot set limits.\(name) to \(LimitText.pair(wanted)): \(reason)" + (why.map { "; \($0)" } ?? "")
    }

    // MARK: User and directory

    private static func identityText(_ failure: SpawnFailure, _ plan: SpawnPlan) -> String {
        let reason = errorMessage(failure.code)
        guard let credentials = plan.credentials else { return "cannot switch the user: \(reason)" }
        let text =
            switch failure.stage {
            case .groups: "cannot take on the groups of \(userName(credentials.user)): \(reason)"
            case .group: "cannot take on group id \(credentials.group): \(reason)"
            default: "cannot become \(userName(credentials.user)): \(reason)"
            }
        switch failure.code {
        case ErrorCode.notPermitted:
            return "\(text); run supd as root (or with CAP_SETUID and CAP_SETGID), or leave out 'user' and 'group'"
        case ErrorCode.tryAgain: return "\(text); the user has as many processes as limits.nproc allows"
        default: return text
        }
    }

    private static func directoryText(_ failure: SpawnFailure, _ plan: SpawnPlan) -> String {
        let text = "cannot change directory to \(plan.directory): \(errorMessage(failure.code))"
        guard failure.code == ErrorCode.accessDenied, let hindrance = access(plan).hindranceToEnter(plan.directory)
        else {
            return text
        }
        return "\(text); \(hindrance)"
    }

    private static func access(_ plan: SpawnPlan) -> PathAccess {
        guard let credentials = plan.credentials else {
            return PathAccess(user: Accounts.ownUser, groups: [Accounts.ownGroup])
        }
        return PathAccess(user: credentials.user, groups: Set(credentials.supplementary + [credentials.group]))
    }

    // MARK: The program

    private static func executeText(_ failure: SpawnFailure, _ plan: SpawnPlan) -> String {
        let reason = errorMessage(failure.code)
        let present = plan.candidates.first { (try? Files.status($0)) != nil }
        guard let path = present ?? (plan.candidates.count == 1 ? plan.candidates.first : nil) else {
            return notFoundText(failure, plan)
        }
        let text = "cannot run \(path): \(reason)"
        switch failure.code {
        case ErrorCode.notFound where present != nil:
            return "cannot run \(path): \(missingHelper(path, plan) ?? reason)"
        case ErrorCode.notExecutableFormat: return "\(text); \(formatProblem(path))"
        case ErrorCode.accessDenied:
            return (hindrance(path, plan) ?? scriptHindrance(path, plan)).map { "\(text); \($0)" } ?? text
        case ErrorCode.tryAgain:
            return "\(text); \(userName(plan.credentials?.user ?? Accounts.ownUser)) has more processes (threads "
                + "included) than limits.nproc allows"
        case ErrorCode.argumentsTooLong:
            return "\(text); arguments and environment are too large; pass large values by a file"
        case ErrorCode.textBusy: return "\(text); something is still writing to it"
        case ErrorCode.outOfMemory:
            return "\(text); no memory is left, or limits.as, limits.data or limits.stack is too low"
        default: return text
        }
    }

    private static func notFoundText(_ failure: SpawnFailure, _ plan: SpawnPlan) -> String {
        let program = plan.arguments.first ?? ""
        let folders = plan.candidates.map {
            $0.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        }
        let path = folders.map { $0.isEmpty ? "/" : $0 }.joined(separator: ":")
        if failure.code == ErrorCode.notFound || failure.code == ErrorCode.notDirectory {
            return "cannot find '\(program)' in PATH (\(path))"
        }
        return "cannot run '\(program)': \(errorMessage(failure.code)); looked for in PATH (\(path))"
    }

    /// Of several candidates the one that is there and may not be run.
    private static func hindrance(_ path: String, _ plan: SpawnPlan) -> String? {
        access(plan).hindranceToExecute(path)
    }

    /// A script may be run, and its interpreter not.
    private static func scriptHindrance(_ path: String, _ plan: SpawnPlan) -> String? {
        guard case .script(let interpreter)? = try? ProgramFile(path: path).form else { return nil }
        return access(plan).hindranceToExecute(absolute(interpreter, plan)).map {
            "its interpreter \(interpreter): \($0)"
        }
    }

    /// ENOENT though the file is there: what it needs is not.
    private static func missingHelper(_ path: String, _ plan: SpawnPlan) -> String? {
        switch try? ProgramFile(path: path).form {
        case .script(let interpreter) where interpreter.hasSuffix("\r"):
            "its first line ends with a carriage return, so that its interpreter is not found; give it Unix line ends"
        case .script(let interpreter) where (try? Files.status(absolute(interpreter, plan))) == nil:
            "its interpreter \(interpreter) (named in its first line) does not exist"
        case .script(let interpreter):
            "its interpreter \(interpreter) (named in its first line) cannot be run: what that one needs does not exist"
        case .elf(_, let loader?) where (try? Files.status(loader)) == nil:
            "its dynamic loader \(loader) does not exist; it was built for another system or C library"
        default: nil
        }
    }

    /// ENOEXEC.
    private static func formatProblem(_ path: String) -> String {
        guard let form = try? ProgramFile(path: path).form else { return "it is no program for this machine" }
        switch form {
        case .empty: return "the file is empty"
        case .script(let interpreter) where interpreter.isEmpty: return "its first line #! names no interpreter"
        case .script(let interpreter): return "its interpreter \(interpreter) is no program for this machine"
        case .other:
            return "it is neither a program nor a script that begins with #! and its interpreter, such as #!/bin/sh"
        case .elf(let machine, _):
            guard case .elf(let own, _)? = try? ProgramFile(path: "/proc/self/exe").form, own != machine else {
                return "it is damaged, or not a program"
            }
            return
                "it was built for \(ProgramFile.machineName(machine)), and this machine is \(ProgramFile.machineName(own))"
        }
    }

    private static func absolute(_ path: String, _ plan: SpawnPlan) -> String {
        path.hasPrefix("/") ? path : "\(plan.directory)/\(path)"
    }
}
