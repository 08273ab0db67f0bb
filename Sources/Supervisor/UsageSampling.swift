import Metrics

/// When it is looked what instances use, and what was found.
///
/// It is looked every ten seconds, at all instances, for a day after somebody has asked; at those whose service has a limit of
/// which `supctl why` tells how it was reached, always; otherwise never. The past and the day outlive the supervisor, not supd:
/// see SupervisorRole+UsageKeeping.swift.
struct UsageSampling {
    /// The past of each instance.
    var history: UsageHistory
    /// Until then all instances are looked at; monotonic, in nanoseconds.
    var wantedUntil: Int64 = 0
    /// Services that are looked at whoever asks.
    var needed: Set<String> = []
    /// A look is under way, or what the supervisor before has left is being read.
    var isLooking = false
    /// It is being written down for the next supervisor.
    var isKeeping = false
    /// When the next one is due, if it is armed.
    var isArmed = false
    /// Who waits for the look under way.
    var waiting: [Waiting] = []

    /// Nothing is known.
    init(_ environment: [String: String] = [:]) {
        let haste = max(1, min(environment[Self.hasteVariable].flatMap(Int64.init) ?? 1, 1000))
        self.haste = haste
        history = UsageHistory(haste: haste)
        pause = 10_000_000_000 / haste
        let seconds = environment[Self.leaseVariable].flatMap(Int64.init) ?? Self.day
        lease = max(1, min(seconds, Self.day)) * 1_000_000_000
    }

    /// Who waits for a report.
    struct Waiting {
        /// The responder, in `statusRequests`.
        var request: UInt64
        /// The instances that are asked for, in the order of the manifest.
        var instances: [String]
        /// The span of which all steps are asked for.
        var series: UsageHistory.Span?
    }

    /// From one look to the next, in nanoseconds.
    let pause: Int64
    /// How many times as fast as it should be.
    let haste: Int64
    /// Tests are in a hurry.
    private static let hasteVariable = "SUPD_TEST_USAGE_HASTE"
    /// For how long it goes on after somebody has asked, in nanoseconds: a day, but in tests, which say it in seconds.
    let lease: Int64
    private static let leaseVariable = "SUPD_TEST_USAGE_LEASE"
    private static let day: Int64 = 86_400
    /// The limits of which the past is kept.
    static let limits: Set<String> = ["as", "data", "nofile"]
}
