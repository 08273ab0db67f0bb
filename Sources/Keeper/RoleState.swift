/// One role's life as a value: when to start it again, and whether it still answers. Times are nanoseconds of
/// CLOCK_MONOTONIC.
struct RoleState: Equatable {
    private static let second: Int64 = 1_000_000_000
    /// How long a new role has for its hello; generous, for machines that are slow or swapping at boot.
    static let helloTime = 20 * second
    /// How long the first supervisor has to begin: it reads the manifest, which may be long and on a slow disk, and
    /// answers nothing meanwhile. There is nothing yet that a supervisor which hangs could harm.
    static let firstStartTime = 60 * second
    /// How long a role has to answer a ping, or to say anything else.
    static let answerTime = 3 * second
    /// A role that ends sooner than this has crashed quickly, which makes a next start wait.
    static let quickLife = 2 * second
    /// The wait after the second quick crash in a row; doubled after each further one.
    static let firstDelay = second / 10
    /// The longest wait.
    static let longestDelay = 5 * second
    /// The window of `crashes(at:)`.
    static let crashWindow = 30 * second

    /// A live process of the role.
    struct Process: Equatable {
        var pid: Int32
        var since: Int64
        /// Whether it said hello.
        var isGreeted = false
        /// Whether it is the first supervisor, which has not said yet that it is ready.
        var isBeginning = false
        /// When it is taken for hung, unless it says something before; nil: nothing is expected of it.
        var deadline: Int64?
        /// Whether it was told to die, or to end.
        var isCondemned = false
        /// Whether its end is the keeper's own wish, so no crash.
        var endIsWanted = false
    }

    /// Where it is in its life.
    enum Phase: Equatable {
        /// Not to be started.
        case unwanted
        /// To be started at this instant.
        case due(at: Int64)
        /// The shell was told to start it.
        case spawning
        /// There is a process.
        case running(Process)
    }

    private(set) var phase = Phase.unwanted
    /// How many processes there were so far, the live one included.
    private(set) var runs = 0
    private var quickCrashes = 0
    private var crashTimes: [Int64] = []

    /// One that was never started by this image, and was so often by those before.
    init(runs: Int = 0) { self.runs = runs }

    /// The live process, if any.
    var process: Process? {
        if case .running(let process) = phase { process } else { nil }
    }

    /// When `takeDue` or `takeOverdue` will have something to say.
    var nextDeadline: Int64? {
        switch phase {
        case .unwanted, .spawning: nil
        case .due(let instant): instant
        case .running(let process): process.deadline
        }
    }

    /// How many processes ended by crash within the last 30 s.
    func crashes(at now: Int64) -> Int { crashTimes.count { now - $0 < Self.crashWindow } }

    /// The role is wanted from now on.
    mutating func want(at now: Int64) {
        if phase == .unwanted { phase = .due(at: now) }
    }

    /// The role is not to be started again.
    mutating func retire() {
        if case .due = phase { phase = .unwanted }
    }

    /// Whether to start it now; if so, the start is taken as begun.
    mutating func takeDue(at now: Int64) -> Bool {
        guard case .due(let instant) = phase, instant <= now else { return false }
        phase = .spawning
        return true
    }

    /// It was forked.
    mutating func spawned(pid: Int32, at now: Int64) {
        runs += 1
        phase = .running(Process(pid: pid, since: now, deadline: now + Self.helloTime))
    }

    /// It could not be forked, which counts as a quick crash.
    mutating func spawnFailed(at now: Int64) { crashed(at: now, wasQuick: true) }

    /// It has ended; `again`: it is still wanted.
    mutating func ended(at now: Int64, again: Bool) {
        guard let process else { return }
        if !again {
            phase = .unwanted
        } else if process.endIsWanted {
            phase = .due(at: now)
        } else {
            crashed(at: now, wasQuick: now - process.since < Self.quickLife)
        }
    }

    private mutating func crashed(at now: Int64, wasQuick: Bool) {
        crashTimes.removeAll { now - $0 >= Self.crashWindow }
        // A snapshot that kills does so at once; a long life says nothing against it.
        if wasQuick { crashTimes.append(now) }
        quickCrashes = wasQuick ? quickCrashes + 1 : 0
        guard quickCrashes > 1 else {
            phase = .due(at: now)
            return
        }
        let doublings = min(quickCrashes - 2, 6)
        phase = .due(at: now + min(Self.firstDelay << Int64(doublings), Self.longestDelay))
    }

    private mutating func change(_ body: (inout Process) -> Void) {
        guard case .running(var process) = phase else { return }
        body(&process)
        phase = .running(process)
    }

    /// It said hello. `beginsAt`: it is the first supervisor, and has its time until it is ready.
    mutating func greeted(beginsAt now: Int64? = nil) {
        change { process in
            process.isGreeted = true
            process.isBeginning = now != nil
            process.deadline = now.map { $0 + Self.firstStartTime }
        }
    }

    /// It is ready.
    mutating func began() {
        change { process in
            process.isBeginning = false
            process.deadline = nil
        }
    }

    /// It said anything at all: it lives.
    mutating func heard() {
        change { if $0.isGreeted, !$0.isBeginning { $0.deadline = nil } }
    }

    /// Whether to ping it now; if so, an answer is awaited from now on.
    mutating func takePing(at now: Int64) -> Bool {
        guard let process, process.isGreeted, process.deadline == nil, !process.isCondemned else { return false }
        change { $0.deadline = now + Self.answerTime }
        return true
    }

    /// Whether it has just run out of time; if so, it is condemned.
    mutating func takeOverdue(at now: Int64) -> Bool {
        guard let process, let deadline = process.deadline, deadline <= now, !process.isCondemned else { return false }
        condemn(wanted: false)
        return true
    }

    /// It was told to die. `wanted`: that is no crash.
    mutating func condemn(wanted: Bool) {
        change { process in
            process.isCondemned = true
            process.deadline = nil
            process.endIsWanted = process.endIsWanted || wanted
        }
    }

    /// It was told to end, which is no crash.
    mutating func expectEnd() { change { $0.endIsWanted = true } }

    /// The keeper itself was held up: a deadline that passed meanwhile says nothing about the role.
    mutating func forgive(at now: Int64) {
        change { process in
            guard process.deadline != nil else { return }
            let patience =
                process.isBeginning ? Self.firstStartTime : process.isGreeted ? Self.answerTime : Self.helloTime
            process.deadline = now + patience
        }
    }
}
