import Links
import Logs
import Platform
import Supervision

/// All that `GET /metrics` tells, before it becomes text: one value, put together on the supervisor's queue.
struct MetricFacts: Sendable {
    /// One service.
    struct Service: Sendable {
        /// What `status` shows of it.
        var view: Application.ServiceView
        /// How many instances there are to be.
        var replicas: Int
        /// Whether systemd's journal gets its lines.
        var sendsToJournal = false
        /// Its instances, in the order of the view's.
        var instances: [Instance]
    }

    /// One instance.
    struct Instance: Sendable {
        /// What `status` shows of it.
        var view: Application.InstanceView
        /// Why it was started again, and how often.
        var restarts: [RestartReason: Int]
        /// What its processes use; nil without any.
        var use: Consumption?
        /// What it has said; nil: nothing.
        var output: LogAmount?
        /// What of it could not be written.
        var dropped: LogLoss?
        /// What systemd's journal has not got of its lines.
        var notInJournal: LogLoss?
    }

    /// The version of supd.
    var version: String
    /// From CLOCK_MONOTONIC to CLOCK_REALTIME now, in nanoseconds.
    var bootOffset: Int64
    /// When the keeper began, in nanoseconds of CLOCK_MONOTONIC.
    var began: Int64
    /// How often the keeper's image was replaced.
    var upgrades: Int
    /// Whether a balancer is wanted.
    var hasFronts: Bool
    /// The roles that have a process, with what it uses; nil: it has just ended.
    var roleUse: [String: RoleUse?]
    /// How often roles were started.
    var roleStarts: RoleStarts
    /// The limits of supd itself, which services have where nothing else is said.
    var ownLimits: [String: LimitPair] = [:]
    /// The services in the order of the manifest.
    var services: [Service]
    /// Probes for readiness.
    var readiness: ProbeTally
    /// Probes for health.
    var health: ProbeTally
    /// What the balancer has counted; nil without one, or if it does not answer.
    var counters: BalancerCounters?

    /// Seconds since 1970 of an instant of CLOCK_MONOTONIC, to the millisecond.
    func time(_ nanoseconds: Int64) -> Double {
        (Double(nanoseconds &+ bootOffset) / 1e6).rounded() / 1000
    }
}
