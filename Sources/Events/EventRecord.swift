/// Something that has happened: numbered, timed, typed. Its JSON is one flat object,
/// `{"number":17,"at":"2026-01-31T10:20:30.123Z","kind":"state","service":"api","instance":"api/2","from":"running", …}`;
/// values of the environment are in none of them.
package struct EventRecord: Sendable, Hashable {
    /// Its number, from 1, never given twice.
    package var number: UInt64
    /// When, RFC 3339 in UTC, to the millisecond.
    package var at: String
    /// The service it is about; nil: none, or several.
    package var service: String?
    /// The instance it is about: `api/2`.
    package var instance: String?
    /// What has happened.
    package var kind: EventKind

    /// Creates a record.
    package init(number: UInt64, at: String, service: String?, instance: String?, kind: EventKind) {
        self.number = number
        self.at = at
        self.service = service
        self.instance = instance
        self.kind = kind
    }
}

/// What can happen.
package enum EventKind: Sendable, Hashable {
    /// An instance is in another state.
    case state(StateChange)
    /// A process of an instance was started.
    case start(ProcessStart)
    /// A process of an instance has ended.
    case exit(ProcessEnd)
    /// A process of an instance could not be started.
    case startFailed(StartFailure)
    /// Health probes of an instance come to something else than before.
    case probe(ProbeChange)
    /// Something else is wanted of an instance.
    case goal(GoalChange)
    /// An instance was taken out of the balancer, or put back.
    case drain(DrainChange)
    /// An instance is there no longer.
    case gone(Gone = Gone())
    /// A service's processes are being replaced.
    case rollout(RolloutStep)
    /// A service has scaled itself.
    case scale(ScaleStep)
    /// A service would have more instances by itself, and cannot, or that is over.
    case scaleHindered(ScaleHindrance)
    /// A limit of a running instance was changed.
    case limit(LimitChange)
    /// Lines of a service's logs were dropped: told once a minute at most.
    case logDropped(LogDrop)
    /// A user has asked for something.
    case command(Command)
    /// A manifest is put in force.
    case apply(ApplyStep)
    /// A role of supd has begun, or ended.
    case role(RoleStep)
    /// supd as a whole.
    case daemon(DaemonStep)
    /// So many events were not kept, because they could not be written down fast enough.
    case lost(Lost)
    /// Of another version of supd; what it says is not known here.
    case other(String)
}

extension EventKind {
    /// From one state to another, both in the words of `supctl status`.
    package struct StateChange: Sendable, Hashable, Codable {
        /// The state before; nil if it is new.
        package var from: String?
        /// The state now.
        package var to: String
        /// Why, for people; nil if the states say it all.
        package var reason: String?
        /// Of one that waits to be tried again: how many starts or short runs have failed in a row.
        package var failures: Int?

        /// Creates one.
        package init(from: String?, to: String, reason: String? = nil, failures: Int? = nil) {
            self.from = from
            self.to = to
            self.reason = reason
            self.failures = failures
        }
    }

    /// A new process.
    package struct ProcessStart: Sendable, Hashable, Codable {
        /// Its generation: higher than that of every process before it of the same instance.
        package var generation: UInt64
        /// Its process id.
        package var pid: Int32
        /// How often this instance was started again without anybody having asked, since somebody last has.
        package var restarts: Int
        /// It slept, and a connection has woken it: no restart; nil: not so.
        package var woken: Bool?

        /// Creates one.
        package init(generation: UInt64, pid: Int32, restarts: Int, woken: Bool? = nil) {
            self.generation = generation
            self.pid = pid
            self.restarts = restarts
            self.woken = woken
        }
    }

    /// The end of a process.
    package struct ProcessEnd: Sendable, Hashable, Codable {
        /// Its generation.
        package var generation: UInt64
        /// The code of exit(3); nil if it did not call it.
        package var code: Int32?
        /// The signal that ended it: `SIGKILL`.
        package var signal: String?
        /// In words, with the likely cause where it is known.
        package var reason: String

        /// Creates one.
        package init(generation: UInt64, code: Int32? = nil, signal: String? = nil, reason: String) {
            self.generation = generation
            self.code = code
            self.signal = signal
            self.reason = reason
        }
    }

    /// The end of an instance.
    package struct Gone: Sendable, Hashable, Codable {
        /// Why there was no more need of it, for people; nil: the manifest does not ask for it.
        package var reason: String?

        /// Creates one.
        package init(reason: String? = nil) { self.reason = reason }
    }

    /// A start that came to nothing.
    package struct StartFailure: Sendable, Hashable, Codable {
        /// The generation that was given out for it.
        package var generation: UInt64
        /// Why, for people.
        package var reason: String
        /// Which restart by itself it was, counted as with a process that has begun; nil: none, or from an older supd.
        package var restarts: Int?

        /// Creates one.
        package init(generation: UInt64, reason: String, restarts: Int? = nil) {
            self.generation = generation
            self.reason = reason
            self.restarts = restarts
        }
    }

    /// What health probes come to.
    package struct ProbeChange: Sendable, Hashable, Codable {
        /// The words for it.
        package enum Outcome: String, Sendable, Hashable, Codable {
            /// As it should be, again.
            case passing
            /// A probe has failed, too few to say that the instance is unhealthy.
            case failing
            /// Too many in a row have failed.
            case unhealthy
        }

        /// What they come to.
        package var outcome: Outcome
        /// The last failure, without what the probe has printed.
        package var reason: String?

        /// Creates one.
        package init(outcome: Outcome, reason: String? = nil) {
            self.outcome = outcome
            self.reason = reason
        }
    }

    /// What is wanted.
    package struct GoalChange: Sendable, Hashable, Codable {
        /// `up` or `down`.
        package var goal: String
        /// Why, where nobody has asked for it: `woken by a connection`.
        package var reason: String?

        /// Creates one.
        package init(goal: String, reason: String? = nil) {
            self.goal = goal
            self.reason = reason
        }
    }

    /// Whether a user has taken it out of the balancer.
    package struct DrainChange: Sendable, Hashable, Codable {
        /// It takes no connections.
        package var drained: Bool

        /// Creates one.
        package init(drained: Bool) { self.drained = drained }
    }

    /// A step of a rollout.
    package struct RolloutStep: Sendable, Hashable, Codable {
        /// The steps.
        package enum Step: String, Sendable, Hashable, Codable {
            /// The rollout of the service begins.
            case began
            /// An instance is being replaced.
            case replacing
            /// It was.
            case replaced
            /// It is not waited for any longer; without an instance: nothing is known of the rollout any more.
            case gaveUp
            /// All new instances of the service are ready and take over at once.
            case switched
            /// It goes back to what ran before.
            case goingBack
            /// All is replaced.
            case done
            /// All is as it was before.
            case wentBack
        }

        /// The step.
        package var step: Step
        /// Why it goes back.
        package var reason: String?
        /// Of one that goes back, or has gone back: at whose wish, `uid 0 (pid 123)`; nil if because of a failure.
        package var by: String?

        /// Creates one.
        package init(step: Step, reason: String? = nil, by: String? = nil) {
            self.step = step
            self.reason = reason
            self.by = by
        }
    }

    /// A limit, soft and hard, as in the manifest.
    package struct LimitChange: Sendable, Hashable, Codable {
        /// Its name: `nofile`.
        package var limit: String
        /// What it was.
        package var old: String
        /// What it is.
        package var new: String
        /// By whom: `uid 0 (pid 123)`, `apply`.
        package var by: String

        /// Creates one.
        package init(limit: String, old: String, new: String, by: String) {
            self.limit = limit
            self.old = old
            self.new = new
            self.by = by
        }
    }

    /// What a user has asked for.
    package struct Command: Sendable, Hashable, Codable {
        /// The verb, as in supctl.
        package var verb: String
        /// The names it was given, the first of them.
        package var names: [String]
        /// By whom.
        package var by: String
        /// That one's user id.
        package var userID: UInt32?

        /// Creates one.
        package init(verb: String, names: [String], by: String, userID: UInt32?) {
            self.verb = verb
            self.names = names
            self.by = by
            self.userID = userID
        }
    }

    /// A step of an apply, or of a rollback.
    package struct ApplyStep: Sendable, Hashable, Codable {
        /// The steps.
        package enum Step: String, Sendable, Hashable, Codable {
            /// The manifest is taken on.
            case began
            /// It cannot be; nothing has changed.
            case refused
            /// All is as it asks for.
            case done
            /// Something of it did not come up, or went back.
            case failed
            /// A user has sent a service of it back to what ran before; nothing has failed.
            case rolledBack
        }

        /// The step.
        package var step: Step
        /// What people know it by: a path, or `manifest 3 of …`.
        package var manifest: String?
        /// By whom it was asked for; of one that was rolled back, who has done that.
        package var by: String?
        /// That one's user id; nil if nobody asked over the control socket.
        package var userID: UInt32?
        /// Why not.
        package var reason: String?

        /// Creates one.
        package init(
            step: Step, manifest: String? = nil, by: String? = nil, userID: UInt32? = nil, reason: String? = nil
        ) {
            self.step = step
            self.manifest = manifest
            self.by = by
            self.userID = userID
            self.reason = reason
        }
    }

    /// The beginning or end of a role.
    package struct RoleStep: Sendable, Hashable, Codable {
        /// `supervisor`, `balancer`.
        package var role: String
        /// `started` or `ended`.
        package var step: String
        /// Its process id, of one that has started.
        package var pid: Int32?
        /// How it ended, for people.
        package var reason: String?

        /// Creates one.
        package init(role: String, step: String, pid: Int32? = nil, reason: String? = nil) {
            self.role = role
            self.step = step
            self.pid = pid
            self.reason = reason
        }
    }

    /// A step of supd as a whole.
    package struct DaemonStep: Sendable, Hashable, Codable {
        /// The steps.
        package enum Step: String, Sendable, Hashable, Codable {
            /// It has begun; nothing that an earlier one had runs any more.
            case started
            /// Everything is being stopped.
            case stopping
            /// Everything is down.
            case stopped
        }

        /// The step.
        package var step: Step
        /// supd's version.
        package var version: String?

        /// Creates one.
        package init(step: Step, version: String? = nil) {
            self.step = step
            self.version = version
        }
    }

    /// Events that nobody will hear of.
    package struct Lost: Sendable, Hashable, Codable {
        /// How many.
        package var count: Int

        /// Creates one.
        package init(count: Int) { self.count = count }
    }
}
