package import Events
package import Manifest

extension Application {
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
        /// The leader has ended; `groupEmpty`: nothing else of its process group is left. `heir`: what the keeper has started
        /// in its place already, on the port that it had; see `heirCandidates`.
        case exited(Generation, ExitStatus, groupEmpty: Bool, heir: Generation? = nil)
        /// The answer to `checkGroup`: nothing of the group, and no orphan of the instance, is left, or something is.
        case groupChecked(Generation, empty: Bool)
        /// A readiness probe has ended.
        /// `nobodyListens`: it has failed because nobody listens on the instance's port.
        case probed(Generation, passed: Bool, detail: String, nobodyListens: Bool = false)
        /// The process, which was confirmed as started, has said something of itself.
        case notified(Generation, ServiceNotice)
        /// A health probe of a ready process has ended. Passes that are no news (`isNews`) need not be told.
        case healthProbed(Generation, ProbeOutcome)
        /// The balancer has no connection to this endpoint any more.
        case drained(Generation)
        /// A service has had no connection for its `idle.stopAfter`.
        case wentIdle(service: String)
        /// The balancer has a connection that waits for a service which sleeps.
        case connectionWaited(service: String)
        /// A user's command; `targets` are existing instances. `by`: who has given it, for people: `uid 0`.
        case commanded(CommandID, Verb, targets: [InstanceID], by: String? = nil)
        /// A user's command: this manifest is to be in force. It was found valid, and its fronts are open.
        case applied(CommandID, Manifest)
        /// A user's command: so many instances of these services, whatever the manifest says.
        case scaled(CommandID, [String: Int])
        /// A user's word on the rollout of a service that is under way. `by`: as in `commanded`.
        case decided(CommandID, service: String, RolloutDecision, by: String? = nil)
        /// What the balancer has counted so far, for services of `servicesOnTrial`.
        case connectsCounted([ConnectCount])
        /// A service has scaled itself, as `ScalingWatch` says.
        case scaledItself(service: String, EventKind.ScaleStep)
        /// Its load asks for no other number of instances, of a service that could not have more (`scalingHindrance`).
        case scalingSettled(service: String)
        /// Nobody waits for a command any more; what it has begun goes on.
        case commandForgotten(CommandID)
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
        /// It has said that it is ready, which it says once: have the keeper remember it for the next supervisor.
        case keepReadiness(Generation, InstanceID, port: UInt16)
        /// Probe the ready process again and again, as its service's `health` says; each result is a `healthProbed`.
        case beginHealthProbing(Generation, InstanceID, port: UInt16)
        /// Stop probing it.
        case endHealthProbing(Generation)
        /// The routes have changed: hand `routes` to the balancer.
        case publish
        /// `manifest` has changed: keep it, and bring what is open into line with it.
        case manifestChanged
        /// An apply is over; whoever waits for it is told beside this.
        case deploymentEnded(CommandOutcome)
        /// What was scaled of these services is so, or will not be soon; whoever waits for it is told beside this.
        case scalingEnded([String], CommandOutcome)
        /// Something worth telling people.
        case report(Report)
        /// Something that is kept as an event, about a service, or one instance of it.
        case happened(EventKind, service: String, instance: InstanceID?)
        /// What a command waits for now, for people; only when it has changed.
        case progress(CommandID, String)
        /// A command is done.
        case finished(CommandID, CommandOutcome)
        /// After `shutdownRequested`: every instance is down.
        case allDown
    }

    /// What a user says to a rollout.
    package enum RolloutDecision: Sendable, Hashable {
        /// The trial of its canary is over: the others follow.
        case promote
        /// It goes back to what ran before.
        case rollBack
    }

    /// The balancer's connects to an instance, ever.
    package struct ConnectCount: Sendable, Hashable {
        /// The instance.
        package var instance: InstanceID
        /// Those that were done.
        package var connects: UInt64
        /// Those that failed.
        package var errors: UInt64

        /// Creates an entry.
        package init(instance: InstanceID, connects: UInt64, errors: UInt64) {
            self.instance = instance
            self.connects = connects
            self.errors = errors
        }
    }

    /// What one probe came to.
    package struct ProbeOutcome: Sendable, Hashable {
        /// Whether it is as it should be.
        package var passed: Bool
        /// What was found: `GET /healthz answered 500`.
        package var reason: String
        /// What the probe has printed, or the body of the answer, as far as it is of use.
        package var output: String
        /// It has failed because nobody listens on the instance's port.
        package var nobodyListens: Bool

        /// Creates a result.
        package init(passed: Bool, reason: String, output: String = "", nobodyListens: Bool = false) {
            self.passed = passed
            self.reason = reason
            self.output = output
            self.nobodyListens = nobodyListens
        }
    }

    /// How a command ended.
    package enum CommandOutcome: Sendable, Hashable {
        /// The goal is reached.
        case done
        /// It will not be, or not soon; the text says why.
        case failed(String)
        /// A rollout has failed, and its service went back to what it was; the last log lines of these instances say more.
        case rolledBack(String, culprits: [Culprit])
        /// Nothing has failed: a user has sent the rollout back, and what ran before runs; the text says what and who.
        case sentBack(String, by: String)
    }

    /// An instance that has made a rollout fail.
    package struct Culprit: Sendable, Hashable {
        /// The instance.
        package var instance: InstanceID
        /// When the process that has failed was asked for: what was logged before is another one's. Nil: nobody knows.
        package var since: Instant?

        /// Creates an entry.
        package init(instance: InstanceID, since: Instant?) {
            self.instance = instance
            self.since = since
        }
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
        /// Whether it has ended; its exit is still to be told.
        package var hasExited: Bool
        /// Whether it has said that it is ready: `keepReadiness`.
        package var saidReady: Bool

        /// Creates an entry.
        package init(
            generation: Generation, instance: InstanceID, port: UInt16, pid: Int32?, hasExited: Bool = false,
            saidReady: Bool = false
        ) {
            self.generation = generation
            self.instance = instance
            self.port = port
            self.pid = pid
            self.hasExited = hasExited
            self.saidReady = saidReady
        }
    }
}
