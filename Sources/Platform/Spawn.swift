import CPlatform
import Glibc

/// The steps of a start in their order.
package enum SpawnStage: Int32, Sendable, Hashable, CaseIterable {
    /// pipe2(2) and other preparations in the parent.
    case prepare
    /// clone3(2) or clone(2).
    case fork
    /// setsid(2).
    case session
    /// dup3(2) and close_range(2).
    case descriptors
    /// Signal mask and dispositions.
    case signals
    /// /proc/self/oom_score_adj.
    case oomScore
    /// prlimit(2).
    case limit
    /// setgroups(2).
    case groups
    /// setresgid(2).
    case group
    /// setresuid(2) and PR_SET_NO_NEW_PRIVS.
    case user
    /// chdir(2).
    case directory
    /// PR_SET_PDEATHSIG, or the parent was gone already.
    case parentDeath
    /// execve(2).
    case execute
}

/// A start that failed: the step, the errno value, and at step `limit` the RLIMIT_… number.
package struct SpawnError: Error, Sendable, Hashable {
    /// The step.
    package var stage: SpawnStage
    /// The errno value.
    package var code: Int32
    /// At step `limit`: which.
    package var limit: Int32?

    /// Creates an error.
    package init(stage: SpawnStage, code: Int32, limit: Int32? = nil) {
        self.stage = stage
        self.code = code
        self.limit = limit
    }
}

/// A process to start in a session of its own: everything that its side needs between fork and exec.
package struct Spawn: Sendable {
    /// One prlimit(2) setting; UInt64.max is RLIM_INFINITY.
    package struct Limit: Sendable, Hashable {
        /// RLIMIT_… as a number.
        package var resource: Int32
        /// The soft limit.
        package var soft: UInt64
        /// The hard limit.
        package var hard: UInt64

        /// Creates a setting.
        package init(resource: Int32, soft: UInt64, hard: UInt64) {
            self.resource = resource
            self.soft = soft
            self.hard = hard
        }
    }

    /// Who the process becomes.
    package struct Credentials: Sendable, Hashable {
        /// The user id.
        package var user: UInt32
        /// The primary group id.
        package var group: UInt32
        /// The supplementary groups.
        package var supplementary: [UInt32]

        /// Creates credentials.
        package init(user: UInt32, group: UInt32, supplementary: [UInt32] = []) {
            self.user = user
            self.group = group
            self.supplementary = supplementary
        }
    }

    /// The paths to try in order: ENOENT and ENOTDIR go on to the next, EACCES is remembered.
    package var candidates: [String]
    /// The argument vector.
    package var arguments: [String]
    /// `NAME=value` strings, complete.
    package var environment: [String]
    /// Names of further variables, whose value is the process's own id: known to its own side alone.
    package var processIDVariables: [String] = []
    /// The working directory; nil: the parent's.
    package var directory: String?
    /// The process's descriptors 0, 1, 2, … (nil: /dev/null); all others are closed.
    package var descriptors: [Descriptor?] = [nil, nil, nil]
    /// Further descriptors by their numbers in the process, from `descriptors.count` on; those in between stay closed.
    package var further: [Int: Descriptor] = [:]
    /// The file mode creation mask; nil: the parent's.
    package var umask: UInt16?
    /// Limits to set, in this order.
    package var limits: [Limit] = []
    /// Who to become; nil: stay who we are.
    package var credentials: Credentials?
    /// Whether execve may not grant privileges any more (PR_SET_NO_NEW_PRIVS).
    package var deniesNewPrivileges = false
    /// Whether it is SIGKILLed when the calling thread ends (PR_SET_PDEATHSIG).
    package var diesWithParent = false
    /// Whether 0 is written to its oom_score_adj.
    package var resetsOOMScore = false
    /// For tests: do without clone3(2) and close_range(2), as where a seccomp filter refuses them.
    package var avoidsNewCalls = false

    /// Creates a description.
    package init(candidates: [String], arguments: [String], environment: [String]) {
        self.candidates = candidates
        self.arguments = arguments
        self.environment = environment
    }

    /// A process that was forked, and may not have executed its program yet.
    package struct Forked: Sendable {
        /// Its process id.
        package let pid: Int32
        /// Its pidfd.
        package let process: ProcessDescriptor
        /// The read end of its status pipe, nonblocking, for `outcome(of:)`.
        package let status: Descriptor
    }

    /// Forks, without waiting for the exec. Throws at stage `prepare` (EINVAL for a string with a NUL byte in it) or
    /// `fork`; nothing is left then.
    package func start() throws(SpawnError) -> Forked {
        guard isExpressible else { throw SpawnError(stage: .prepare, code: EINVAL) }
        return try withUnsafeTemporaryAllocation(byteCount: planSize, alignment: PlanWriter.alignment) {
            memory throws(SpawnError) in
            guard var plan = plan(in: memory) else { throw SpawnError(stage: .prepare, code: EINVAL) }
            return try fork(&plan, orders: nil)
        }
    }

    /// Forks with a plan, whose status pipe is made here.
    func fork(
        _ plan: inout supd_spawn_plan, orders: UnsafeMutablePointer<supd_spawn_orders>?
    ) throws(SpawnError) -> Forked {
        let statusPipe: (read: Descriptor, write: Descriptor)
        do throws(SystemError) {
            statusPipe = try makePipe(nonblockingRead: true)
        } catch {
            throw SpawnError(stage: .prepare, code: error.code)
        }
        plan.status = statusPipe.write.raw
        var result = supd_spawn_result(pid: -1, pidfd: -1)
        do throws(SystemError) {
            try systemCall("clone3") { supd_spawn(&plan, orders, &result) }
        } catch {
            throw SpawnError(stage: .fork, code: error.code)
        }
        withExtendedLifetime((descriptors, further, statusPipe.write)) {}
        let process = ProcessDescriptor(owning: Descriptor(owning: result.pidfd))
        return Forked(pid: result.pid, process: process, status: statusPipe.read)
    }

    /// What a status pipe says.
    package enum Outcome: Sendable, Hashable {
        /// Neither executed nor failed yet.
        case pending
        /// The program was executed, or the process was killed before it could be: its exit tells.
        case executed
        /// It failed, and the process is about to end.
        case failed(SpawnError)
    }

    /// Reads a status pipe without waiting.
    package static func outcome(of status: Descriptor) -> Outcome {
        var failure = supd_spawn_failure()
        let size = MemoryLayout<supd_spawn_failure>.size
        do throws(SystemError) {
            let count = try systemCall("read", "a status pipe") { read(status.raw, &failure, size) }
            guard count == size else { return .executed }
            let stage = SpawnStage(rawValue: failure.stage) ?? .execute
            return .failed(SpawnError(stage: stage, code: failure.code, limit: stage == .limit ? failure.limit : nil))
        } catch {
            return error.code == EAGAIN ? .pending : .executed
        }
    }
}
