package import Manifest

/// The whole application as a value: every instance's machine, dependencies, ports, commands in progress. It is given
/// what happened and answers what to do; it never acts itself. Its encoded form is the snapshot that the keeper holds.
package struct Application: Sendable, Codable {
    /// The accepted manifest.
    package private(set) var manifest: Manifest

    /// What happened.
    package enum Event: Sendable, Hashable {
        /// The daemon has begun: bring up all that the manifest wants.
        case started
        /// `nextDeadline` has come.
        case deadlineReached
        /// The process was started.
        case spawned(Generation, pid: Int32)
        /// It was not.
        case spawnFailed(Generation, StartFailure)
        /// Before the spawn: the port is in use by somebody else ("pid 123 (nginx)"). A port of the range is exchanged
        /// for the next free one; a fixed one is a failed start.
        case portTaken(Generation, holder: String)
        /// The leader has ended; `groupEmpty`: nothing else of its process group is left.
        case exited(Generation, ExitStatus, groupEmpty: Bool)
        /// The answer to `checkGroup`: nothing of the group, and no orphan of the instance, is left, or something is.
        case groupChecked(Generation, empty: Bool)
        /// A readiness probe has ended.
        case probed(Generation, passed: Bool, detail: String)
        /// The balancer has no connection to this endpoint any more.
        case drained(Generation)
        /// A user's command; `targets` are existing instances.
        case commanded(CommandID, Verb, targets: [InstanceID])
        /// Stop everything in order.
        case shutdownRequested
    }

    /// What to do.
    package enum Effect: Sendable, Hashable {
        /// Check the port, then start the process. Answered by `spawned`, `spawnFailed` or `portTaken`.
        case spawn(Generation, InstanceID, port: UInt16)
        /// Send a signal by name (`TERM`) to the process group.
        case signal(Generation, String)
        /// See whether group and orphans are gone (ending orphans on the way). Answered by `groupChecked`.
        case checkGroup(Generation)
        /// Nothing of this generation is left: forget it.
        case release(Generation)
        /// Probe for readiness until it passes or `endProbing` comes; each result is a `probed`.
        case beginProbing(Generation, InstanceID, port: UInt16)
        /// Stop probing.
        case endProbing(Generation)
        /// The routes have changed: hand `routes` to the balancer.
        case publish
        /// Something worth telling people.
        case report(Report)
        /// What a command waits for now, for people; only when it has changed.
        case progress(CommandID, String)
        /// A command is done.
        case finished(CommandID, CommandOutcome)
        /// After `shutdownRequested`: every instance is down.
        case allDown
    }

    /// How a command ended.
    package enum CommandOutcome: Sendable, Hashable {
        /// The goal is reached.
        case done
        /// It will not be, or not soon; the text says why.
        case failed(String)
    }

    /// Something that happened to an instance, worth a line in supd's log.
    package struct Report: Sendable, Hashable {
        /// How bad it is.
        package enum Level: Sendable, Hashable {
            /// Nothing to do.
            case info
            /// Look at it.
            case warning
            /// Something is down that should be up.
            case error
        }

        /// The instance.
        package var instance: InstanceID
        /// How bad.
        package var level: Level
        /// A sentence without the instance's name: `ready on port 20001 after 0.12 s`.
        package var text: String

        /// Creates a report.
        package init(instance: InstanceID, level: Level, text: String) {
            self.instance = instance
            self.level = level
            self.text = text
        }
    }

    /// What the keeper knows of a child when a supervisor starts anew.
    package struct SurvivingChild: Sendable, Hashable {
        /// Its generation.
        package var generation: Generation
        /// Its instance.
        package var instance: InstanceID
        /// Its port.
        package var port: UInt16
        /// Its process id; nil while it is between fork and exec.
        package var pid: Int32?

        /// Creates an entry.
        package init(generation: Generation, instance: InstanceID, port: UInt16, pid: Int32?) {
            self.generation = generation
            self.instance = instance
            self.port = port
            self.pid = pid
        }
    }

    /// The routes of one service with fronts, for the balancer's table.
    package struct Route: Sendable, Hashable {
        /// One generation that takes connections, or drains.
        package struct Endpoint: Sendable, Hashable {
            /// The generation.
            package var generation: Generation
            /// The instance.
            package var instance: InstanceID
            /// The port on 127.0.0.1.
            package var port: UInt16
            /// Whether it takes no new connections.
            package var draining: Bool
        }

        /// The service.
        package var service: String
        /// Its endpoints, in the order of their instance numbers.
        package var endpoints: [Endpoint]
        /// Whether connections wait while no endpoint is active (else they are reset: nothing will come).
        package var holds: Bool
        /// During a replacement in place: connections that wait do not expire before this instant;
        /// Int64.max nanoseconds while the new process has not begun.
        package var holdUntil: Instant?
    }

    /// What `status` shows of a service.
    package struct ServiceView: Sendable, Hashable {
        /// The name.
        package var name: String
        /// The state in one word: running, degraded, starting, waiting, stopping, backoff, failed, completed, down.
        package var state: String
        /// What is wanted.
        package var goal: Goal
        /// How many instances are ready (a task: completed).
        package var ready: Int
        /// The instances in order.
        package var instances: [InstanceView]
    }

    /// What `status` shows of an instance.
    package struct InstanceView: Sendable, Hashable {
        /// The instance.
        package var id: InstanceID
        /// The state in one word: down, waiting, starting, running, draining, stopping, backoff, failed, completed.
        package var state: String
        /// What it waits for or why it is not up, for people: `db to be ready`, `next try in 3.2 s`; nil if nothing.
        package var detail: String?
        /// Its current process; nil if it has none.
        package var pid: Int32?
        /// Its current generation; nil if it has none.
        package var generation: Generation?
        /// Its port.
        package var port: UInt16
        /// Whether it is ready.
        package var isReady: Bool
        /// Starts beyond the first since the keeper began.
        package var restarts: Int
        /// When the current process began; nil if it has none.
        package var startedAt: Instant?
        /// The last exit or failed start, for people: `exited with code 1`, `killed by SIGKILL`; nil if none.
        package var lastExit: LastExit?
    }

    /// The last exit of an instance.
    package struct LastExit: Sendable, Hashable, Codable {
        /// How the process ended; nil for a start that failed.
        package var status: ExitStatus?
        /// In words, with the likely cause where it is known.
        package var reason: String
        /// When.
        package var at: Instant
    }
}

extension Application {
    /// The application before anything has started. Ports are given out here: fixed ones, the others from the range.
    package init(manifest: Manifest, firstGeneration: Generation = Generation(1)) { self.manifest = manifest }

    /// Takes what happened; answers what to do, in order. `jitter`, between -1 and 1, is drawn anew for every call.
    package mutating func handle(_ event: Event, at now: Instant, jitter: Double = 0) -> [Effect] { [] }

    /// Called once, in place of `started`, when a new supervisor has taken over from one that ended: `children` are all
    /// that the keeper holds, also those that have ended (their `exited` comes afterwards). A generation that the
    /// snapshot knows and the keeper does not has ended unseen. `highestGeneration` was given out before.
    package mutating func resume(
        children: [SurvivingChild], highestGeneration: Generation, at now: Instant
    ) -> [Effect] { [] }

    /// When `deadlineReached` is due; nil: never.
    package var nextDeadline: Instant? { nil }

    /// What the balancer should do, for every service with fronts.
    package var routes: [Route] { [] }

    /// All services as `status` shows them, in the order of the manifest.
    package func views(at now: Instant) -> [ServiceView] { [] }

    /// The service and port of a generation that is still known.
    package func instance(of generation: Generation) -> (id: InstanceID, port: UInt16)? { nil }
}
