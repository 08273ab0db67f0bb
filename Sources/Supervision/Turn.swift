import Events

/// One call of `handle`: the arguments, the effects so far, and what has still to be looked at before it is over.
struct Turn {
    /// The time of the call.
    let now: Instant
    /// Between -1 and 1.
    let jitter: Double
    /// The number of the next start.
    var nextGeneration: Generation
    /// What to do, in order.
    var effects: [Application.Effect] = []
    /// The places of instances that were given an event.
    var touched: [Int] = []
    /// The places of services whose facts may have changed; those before `settled` were dealt with.
    private var unsettled: [Int] = []
    private var settled = 0
    /// Fixed ports that processes on their way out had; whoever waits for one may have it now.
    var freedPorts: Set<UInt16> = []
    /// A process that is there already for the next start of the instance whose exit is being handled.
    var heir: Heir?
    /// Whether those that wait for others are left alone, because not all others have been looked at yet.
    var isTakingUp = false
    /// Whether the balancer must hear of it.
    var routesChanged = false
    /// What has happened to instances' processes, to be told at the end of the turn.
    var untold: [(kind: EventKind, instance: InstanceID)] = []
    /// Why instances that slept do so no more.
    var wakeReasons: [InstanceID: String] = [:]
    /// Rollouts that have begun to go back, by their services, and what to tell of that: they may be over in the same turn.
    var wentBack: [String: EventKind.RolloutStep] = [:]
    /// Instances that stood beside others while these were replaced, and are there no longer.
    var standInsGone: Set<InstanceID> = []
    /// A new supervisor takes up what the one before has left.
    var isResumption = false
    /// The places of instances that may have something to tell at the end of the turn; nil: all of them.
    private(set) var changed: [Int]? = []

    /// Starts a turn.
    init(now: Instant, jitter: Double, nextGeneration: Generation) {
        self.now = now
        self.jitter = jitter
        self.nextGeneration = nextGeneration
    }

    /// An instance has changed, or may have.
    mutating func note(_ place: Int, of service: Int) {
        touched.append(place)
        changed?.append(place)
        // Many events of one service in a row (a thousand replicas that start) are looked at once.
        if settled == unsettled.count || unsettled.last != service { unsettled.append(service) }
    }

    /// The next service to look at; nil: all is settled.
    mutating func nextUnsettled() -> Int? {
        guard settled < unsettled.count else {
            unsettled = []
            settled = 0
            return nil
        }
        defer { settled += 1 }
        return unsettled[settled]
    }

    /// Places mean something else from now on: what was noted by them is looked at anew by whoever changes them.
    mutating func forgetPlaces() {
        touched = []
        unsettled = []
        settled = 0
        tellOfAll()
    }

    /// At the end of the turn all instances are looked at for what there is to tell.
    mutating func tellOfAll() { changed = nil }

    /// A generation that no process has had.
    mutating func newGeneration() -> Generation {
        defer { nextGeneration.number &+= 1 }
        return nextGeneration
    }

    /// Tells people.
    mutating func report(_ instance: InstanceID, _ level: Application.Report.Level, _ text: String) {
        effects.append(.report(Application.Report(instance: instance, level: level, text: text)))
    }
}
