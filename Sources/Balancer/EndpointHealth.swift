/// What failed connects say about an endpoint: a value, so that loops can share it in one atomic word.
///
///     in service ──failed──► set aside for 1 s ──time over, a connection comes──► on trial
///          ▲                  ▲  twice as long each time, 60 s at most               │ │
///          │                  └──────────────────────failed──────────────────────────┘ │
///          └─────────────────────────────────succeeded─────────────────────────────────┘
///
/// On trial it gets one connection; the others go on passing it by. Any connect that succeeds clears it, also one that
/// was begun before. A trial that comes to neither end, because its client has left, is followed by another one after
/// `trialTime`.
struct EndpointHealth: Equatable {
    enum State: UInt8 {
        case inService = 0
        case setAside = 1
        case onTrial = 2
    }

    /// The first time aside, and the longest, in nanoseconds.
    static let firstTime: Int64 = 1_000_000_000
    static let longestTime: Int64 = 60_000_000_000

    /// In service: when a connect failed last and none has succeeded since, or when its trial began if it was put back during one;
    /// 0 for never. Set aside: until then. On trial: since then. In nanoseconds, cut to multiples of 1024.
    private(set) var instant: Int64 = 0
    /// How often it was set aside since it last took a connect, up to a limit.
    private(set) var strikes: UInt8 = 0
    private(set) var state = State.inService

    init() {}

    /// As one word: the state in the lowest two bits, the strikes in eight above, the instant in units of 1024 ns.
    var bits: UInt64 {
        UInt64(bitPattern: instant) & ~1023 | UInt64(strikes) << 2 | UInt64(state.rawValue)
    }

    init(bits: UInt64) {
        state = State(rawValue: UInt8(bits & 3)) ?? .inService
        strikes = UInt8(bits >> 2 & 255)
        instant = Int64(bitPattern: bits & ~1023)
    }

    /// How long the last time aside was, or is.
    var time: Int64 {
        strikes == 0 ? 0 : min(Self.longestTime, Self.firstTime << Int64(min(strikes, 7) - 1))
    }

    /// Since when it is not in service without a break; nil when it is.
    var setAsideSince: Int64? {
        switch state {
        case .inService: nil
        case .setAside: instant &- time
        case .onTrial: instant
        }
    }

    /// When a connect failed last, if it is in service nevertheless and none has succeeded since.
    var failedLast: Int64? { state == .inService && instant != 0 ? instant : nil }

    /// Whether the next connection may be its trial.
    func mayBeTried(now: Int64, trialTime: Int64) -> Bool {
        switch state {
        case .inService: false
        case .setAside: now >= instant
        case .onTrial: now >= saturatingSum(instant, trialTime)
        }
    }

    /// When the next trial may be; nil in service.
    func nextTrial(trialTime: Int64) -> Int64? {
        switch state {
        case .inService: nil
        case .setAside: instant
        case .onTrial: saturatingSum(instant, trialTime)
        }
    }

    /// A connection tries it. Returns whether that is this connection.
    mutating func tried(now: Int64, trialTime: Int64) -> Bool {
        guard mayBeTried(now: now, trialTime: trialTime) else { return false }
        state = .onTrial
        instant = Self.cut(now)
        return true
    }

    /// A trial that was begun at `began` has tried nothing, for want of something of our own: the next one may begin at once.
    mutating func untried(began: Int64) -> Bool {
        guard state == .onTrial, instant == Self.cut(began) else { return false }
        state = .setAside
        return true
    }

    /// A connect that was begun at `began` has failed. `mayBeSetAside`: there are enough others. Returns whether it was
    /// set aside now.
    mutating func failed(began: Int64, now: Int64, mayBeSetAside: Bool) -> Bool {
        switch state {
        // One of several that were under way: the first one has said it all.
        case .setAside: return false
        case .onTrial: guard began >= instant else { return false }
        case .inService:
            guard mayBeSetAside else {
                instant = Self.cut(now)
                return false
            }
        }
        state = .setAside
        strikes = min(strikes + 1, 7)
        instant = Self.cut(saturatingSum(now, time))
        return true
    }

    /// A connect has succeeded. Returns whether that has changed anything.
    mutating func succeeded() -> Bool {
        let changed = self != EndpointHealth()
        self = EndpointHealth()
        return changed
    }

    /// Fewer may be aside: back into service, with what is held against it.
    mutating func putBack() -> Bool {
        guard let since = setAsideSince else { return false }
        state = .inService
        instant = Self.cut(since)
        return true
    }

    private static func cut(_ instant: Int64) -> Int64 { instant & ~1023 }
}
