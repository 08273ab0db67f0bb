import Platform

/// The version of all links; a hello carries it. Raise it with every change of a message's meaning.
package let linkVersion = 5

/// What the supervisor (and, for hello and pong, any role) says to the keeper.
package enum KeeperRequest: Codable, Sendable, Equatable {
    /// The first message of a role. The keeper answers the supervisor with `welcome` and the inventory.
    case hello(version: Int)
    /// The answer to `ping`.
    case pong
    /// Fork and execute. Answered by `spawned` or `spawnFailed`. The id is the caller's, never used before.
    case spawn(SpawnPlan)
    /// Send a signal to the child alone or to its whole process group. Unknown or finished ids are ignored.
    case signal(id: UInt64, number: Int32, group: Bool)
    /// Send a signal to an adopted orphan; ignored unless it is still the keeper's child.
    case signalOrphan(pid: Int32, number: Int32)
    /// Answered by `group`.
    case queryGroup(id: UInt64)
    /// When this child ends, start another at once, without asking: if nothing of its group and no orphan of it is left,
    /// and the port is free then. Takes the place of an earlier order; forgotten at the hello of another supervisor and
    /// when everything stops. The exit is told with `heir`, the start is answered like that of `spawn`.
    case standby(for: UInt64, port: UInt16, SpawnPlan)
    /// Withdraw that order. What is sent afterwards, a signal for one, finds none.
    case standDown(id: UInt64)
    /// The exit was dealt with: forget the child, close its output pipes. Ignored while it runs.
    case release(id: UInt64)
    /// Give the child another label: what the next supervisor must know of it has changed. Unknown ids are ignored.
    case relabel(id: UInt64, label: String)
    /// Keep the one descriptor that comes beside this message under a name, in place of an older one.
    case hold(name: String)
    /// Close the descriptor held under a name.
    case drop(name: String)
    /// Start the balancer with these credentials, or restart it if they differ; kept for respawns.
    case startBalancer(RoleCredentials?)
    /// The balancer with this pid says what cannot be understood: end it and start another one. Ignored if it is gone.
    case replaceBalancer(pid: Int32)
    /// Start the web role with these credentials, or restart it if they differ; kept for respawns.
    case startWeb(RoleCredentials?)
    /// The web role with this pid says what cannot be understood: as `replaceBalancer`.
    case replaceWeb(pid: Int32)
    /// End the web role, and start no other one.
    case stopWeb
    /// The supervisor is up: READY=1 to systemd, once.
    case ready
    /// STATUS= to systemd, one line.
    case status(String)
    /// The supervisor is stopping and needs up to this long: STOPPING=1 and EXTEND_TIMEOUT_USEC to systemd.
    case stopping(microseconds: UInt64)
    /// Everything is down: end the other roles and exit with this code.
    case exit(code: Int32)
    /// Try the program at a path (nil: the one by which supd was started) and, unless it is only to be tried, take it in
    /// place of the own one. Answered by `trialEnded`; after a trial that went well `leave` follows.
    case upgrade(path: String?, onlyTries: Bool)
    /// The balancer has its listeners and a table: those of the image before may retire, which is to take so many
    /// nanoseconds at most.
    case balancerServes(drainTime: Int64)
}

/// What the keeper says to a role.
package enum KeeperNotice: Codable, Sendable, Equatable {
    /// The answer to the supervisor's hello. `runs` counts the supervisors so far, from 1; `crashes` those that, soon after their start, ended by
    /// crash within the last 30 s; `scope` is the text that every child carries in its environment as SUPD_SCOPE;
    /// `highestID` is the highest id ever given to `spawn`. Inventory notices follow, then `inventoryEnd`.
    case welcome(version: Int, runs: Int, crashes: Int, scope: String, highestID: UInt64)
    /// A child in the inventory; descriptors beside it as in `spawned`. Its exit, if any, follows as `exited`.
    case child(id: UInt64, label: String, pid: Int32, state: ChildState)
    /// A held descriptor in the inventory, which comes beside this message.
    case held(name: String)
    /// The inventory is complete.
    case inventoryEnd
    /// The child has executed its program. Beside it come, as captured, the read ends of stdout and stderr.
    case spawned(id: UInt64, pid: Int32)
    /// The child was not started; nothing is left of it.
    case spawnFailed(id: UInt64, failure: SpawnFailure)
    /// The child has ended. `groupEmpty`: no other process of its group is left. `heir`: the id of the child that was
    /// started in its place, by a standing order.
    case exited(id: UInt64, exit: ChildExit, groupEmpty: Bool, heir: UInt64? = nil)
    /// The answer to `queryGroup`; true too for an unknown id.
    case group(id: UInt64, empty: Bool)
    /// The keeper, being a subreaper, has become the parent of a process that it did not start. `scope` is that
    /// process's SUPD_SCOPE, if it could be read.
    case adopted(pid: Int32, scope: String?)
    /// An adopted orphan is gone.
    case orphanExited(pid: Int32)
    /// SIGTERM or SIGINT came: stop everything in order. A second one the keeper deals with itself.
    case shutdown(signal: Int32)
    /// SIGHUP came: what the manifest's file says now is to be in force.
    case reload
    /// A balancer was started; the supervisor's end of its link comes beside this message. Also in the inventory. `runs`
    /// counts the balancers so far, from 1.
    case balancerStarted(pid: Int32, runs: Int? = nil)
    /// The balancer ended; the keeper starts another one.
    case balancerExited(exit: ChildExit)
    /// A web role was started; as `balancerStarted`.
    case webStarted(pid: Int32, runs: Int)
    /// The web role ended; the keeper starts another one, if it is still wanted.
    case webExited(exit: ChildExit)
    /// Answer `pong` within four seconds: a role that does not is replaced.
    case ping
    /// How the program of an `upgrade` did in its trial.
    case trialEnded(TrialReport)
    /// Another image takes over: keep a snapshot and end, with 0. The next supervisor comes from it.
    case leave
    /// To a balancer, of the image before: accept nothing more, and end once all connections have.
    case retire
    /// How often this keeper's image was replaced, and why the last attempt failed, if it did. In the inventory, too, if
    /// there is something to tell.
    case upgraded(count: Int, failure: String?)
    /// A balancer of an image before has ended.
    case formerBalancerEnded(pid: Int32)
}

/// What came of the trial of a program.
package struct TrialReport: Codable, Sendable, Equatable {
    /// The program's path.
    package var path: String
    /// Its version, if it said it.
    package var version: String?
    /// Why it cannot take over; nil: it can.
    package var failure: String?

    /// Creates a report.
    package init(path: String, version: String? = nil, failure: String? = nil) {
        self.path = path
        self.version = version
        self.failure = failure
    }
}

/// Names of held descriptors that the keeper shows to a program before it takes over.
package enum HeldName {
    /// The accepted manifest, in a file in memory.
    package static let manifest = "manifest"
    /// The supervisor's snapshot, in a file in memory.
    package static let snapshot = "snapshot"
}

/// What a child is doing.
package enum ChildState: String, Codable, Sendable, Equatable {
    /// Between fork and exec.
    case spawning
    /// Executed.
    case running
    /// Ended, not released yet.
    case exited
}

/// How a child ended, from waitid(2).
package enum ChildExit: Codable, Sendable, Equatable {
    /// It called exit with this code, 0 to 255.
    case code(Int32)
    /// A signal ended it.
    case signal(Int32, coreDumped: Bool)
}

/// All that the child's side needs between fork and exec; nothing is looked up there.
package struct SpawnPlan: Codable, Sendable, Equatable {
    /// One prlimit(2) setting; UInt64.max is RLIM_INFINITY.
    package struct Limit: Codable, Sendable, Equatable {
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

    /// A descriptor that the child gets.
    package struct Passed: Codable, Sendable, Equatable {
        /// The highest number.
        package static let numberLimit: Int32 = 1023

        /// Its number in the child, from 3.
        package var number: Int32
        /// The name under which the keeper holds it.
        package var held: String

        /// Creates an entry.
        package init(number: Int32, held: String) {
            self.number = number
            self.held = held
        }
    }

    /// The user and groups to become.
    package struct Credentials: Codable, Sendable, Equatable {
        /// The user id.
        package var user: UInt32
        /// The primary group id.
        package var group: UInt32
        /// The supplementary groups.
        package var supplementary: [UInt32]

        /// Creates credentials.
        package init(user: UInt32, group: UInt32, supplementary: [UInt32]) {
            self.user = user
            self.group = group
            self.supplementary = supplementary
        }
    }

    /// The caller's id for the child; unique for the keeper's lifetime.
    package var id: UInt64
    /// Opaque to the keeper; given back in the inventory.
    package var label: String
    /// The paths to try in order with execve(2): ENOENT and ENOTDIR go on to the next, EACCES is remembered.
    package var candidates: [String]
    /// The argument vector.
    package var arguments: [String]
    /// `NAME=value` strings, complete (the keeper adds nothing).
    package var environment: [String]
    /// Names of further variables whose value is the child's own process id; none of them is in `environment`.
    package var processIDVariables: [String]
    /// The working directory.
    package var directory: String
    /// nil: stay who we are.
    package var credentials: Credentials?
    /// The file mode creation mask.
    package var umask: UInt16
    /// Limits to set, in this order.
    package var limits: [Limit]
    /// Whether stdout and stderr are captured by pipes (read ends held by the keeper) or go to /dev/null.
    package var capturesOutput: Bool
    /// What the child gets beside its standard descriptors; numbers in between stay closed.
    package var passed: [Passed]

    /// Creates a plan.
    package init(
        id: UInt64, label: String, candidates: [String], arguments: [String], environment: [String],
        processIDVariables: [String] = [], directory: String = "/", credentials: Credentials? = nil,
        umask: UInt16 = 0o022, limits: [Limit] = [],
        capturesOutput: Bool = true, passed: [Passed] = []
    ) {
        self.id = id
        self.label = label
        self.candidates = candidates
        self.arguments = arguments
        self.environment = environment
        self.processIDVariables = processIDVariables
        self.directory = directory
        self.credentials = credentials
        self.umask = umask
        self.limits = limits
        self.capturesOutput = capturesOutput
        self.passed = passed
    }
}

/// Who an unprivileged role runs as.
package struct RoleCredentials: Codable, Sendable, Equatable {
    /// The user id.
    package var user: UInt32
    /// The group id.
    package var group: UInt32

    /// Creates credentials.
    package init(user: UInt32, group: UInt32) {
        self.user = user
        self.group = group
    }
}

/// Which step of a start failed, and how.
package struct SpawnFailure: Codable, Sendable, Equatable {
    /// The steps of a start in their order.
    package enum Stage: String, Codable, Sendable, Equatable, CaseIterable {
        /// pipe2(2) and other preparations in the keeper.
        case prepare
        /// clone3(2) or fork(2).
        case fork
        /// setsid(2).
        case session
        /// Standard input, output and error, and closing all else.
        case descriptors
        /// Signal mask and dispositions.
        case signals
        /// /proc/self/oom_score_adj.
        case oomScore
        /// setrlimit(2); `limit` says which.
        case limit
        /// setgroups(2), setresgid(2), setresuid(2).
        case groups, group, user
        /// chdir(2).
        case directory
        /// prctl(PR_SET_PDEATHSIG).
        case parentDeath
        /// execve(2).
        case execute
    }

    /// The step.
    package var stage: Stage
    /// The errno value it left.
    package var code: Int32
    /// At stage `limit`: RLIMIT_… as a number.
    package var limit: Int32?

    /// Creates a failure.
    package init(stage: Stage, code: Int32, limit: Int32? = nil) {
        self.stage = stage
        self.code = code
        self.limit = limit
    }
}
