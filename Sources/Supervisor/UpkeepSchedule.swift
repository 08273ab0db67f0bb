import Dispatch

/// Work that may wait a little, done once for many requests; no timer runs while nothing is requested.
struct UpkeepSchedule {
    private let timer: any DispatchSourceTimer
    private var isArmed = false
    /// The status line that systemd was told last.
    var lastStatus = ""

    private static let delay = DispatchTimeInterval.milliseconds(100)

    /// Creates a schedule on a queue.
    init(queue: DispatchQueue) {
        timer = DispatchSource.makeTimerSource(queue: queue)
    }

    /// Sets what to do, and begins. The handler must call `began`.
    func onDue(_ handler: @escaping @Sendable () -> Void) {
        timer.setEventHandler(handler: handler)
        timer.activate()
    }

    /// Asks for the work, 100 ms from now unless it is asked for already.
    mutating func request() {
        guard !isArmed else { return }
        isArmed = true
        timer.schedule(deadline: .now() + Self.delay, leeway: .milliseconds(20))
    }

    /// The work is being done; what changes from now on is for the next time.
    mutating func began() {
        isArmed = false
    }
}
