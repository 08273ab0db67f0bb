import Dispatch
import Platform
import Supervision

/// One try of a probe: what must be ended when it is over.
final class Attempt {
    /// When it has failed at the latest, in nanoseconds of CLOCK_MONOTONIC.
    private(set) var deadline: Int64
    /// What to say then.
    private(set) var timeoutText: String
    /// The connection of a tcp or http try.
    var connection: LoopbackConnection?
    /// What waits for the connection.
    private(set) var source: (any DispatchSourceProtocol)?
    /// The request of an http try was sent.
    var isAsked = false
    /// The response of an http try so far.
    var answer = HTTPAnswerReader()
    /// Ends the command of a command try.
    var cancelCommand: (() -> Void)?
    /// The command has ended by itself.
    var hasCommandEnded = false

    init(timeout: Duration, timeoutText: String) {
        deadline = monotonicNanoseconds() + timeout.wholeNanoseconds
        self.timeoutText = timeoutText
    }

    /// Gives the try another time for its next step; nil: it goes on with what is left of the one it has.
    func goOn(for timeout: Duration?, timeoutText: String) {
        if let timeout { deadline = monotonicNanoseconds() + timeout.wholeNanoseconds }
        self.timeoutText = timeoutText
    }

    /// Waits with another source from now on, or with none.
    func watch(_ source: (any DispatchSourceProtocol)?) {
        self.source?.cancel()
        self.source = source
    }

    /// Ends whatever still goes on.
    func end() {
        watch(nil)
        connection = nil
        if let cancelCommand, !hasCommandEnded { cancelCommand() }
        cancelCommand = nil
    }
}

/// A connection whose answer is known, read to its end: 1 MiB and one second at most.
final class LingeringConnection {
    /// When it is closed at the latest, in nanoseconds of CLOCK_MONOTONIC.
    let deadline = monotonicNanoseconds() + 1_000_000_000
    /// Called when it has come to its end by itself.
    var ended: () -> Void = {}
    private let source: any DispatchSourceRead
    private var left = 1 << 20

    init(_ connection: LoopbackConnection, queue: DispatchQueue) {
        source = DispatchSource.makeReadSource(fileDescriptor: connection.descriptor.raw, queue: queue)
        source.setCancelHandler { _ = connection }
        source.setEventHandler { [weak self] in self?.read(connection) }
        source.activate()
    }

    deinit { source.cancel() }

    /// Closes it.
    func end() { source.cancel() }

    private func read(_ connection: LoopbackConnection) {
        while left > 0, let received = try? connection.receive() {
            switch received {
            case .nothing: return
            case .bytes(let bytes): left -= bytes.count
            case .end: left = 0
            }
        }
        end()
        ended()
    }
}
