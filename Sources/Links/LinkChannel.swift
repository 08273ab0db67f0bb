package import Dispatch
package import Platform

/// A link on a serial queue: hands over what comes, and keeps what the other end does not take yet. Used on that queue
/// alone.
package final class LinkChannel: @unchecked Sendable {
    /// Messages kept for a peer that does not read; a supervisor that hangs is replaced long before.
    private static let unsentLimit = 20_000
    /// Messages in a row that make no sense, after which the link is of no use. One alone may come from another version.
    private static let nonsenseLimit = 100

    private let connection: LinkConnection
    private let queue: DispatchQueue
    private var reading: (any DispatchSourceRead)?
    private var writing: (any DispatchSourceWrite)?
    private var unsent: [EncodedMessage] = []
    private var isClosed = false

    /// Takes over a connection; nothing is received before `start`.
    package init(_ connection: LinkConnection, on queue: DispatchQueue) {
        self.connection = connection
        self.queue = queue
    }

    /// Begins to receive. `ended` is called once, when no more can come; `isBroken`: not because the other end closed.
    package func start<Message: LinkMessage>(
        _ type: Message.Type, received: @escaping @Sendable (Message, [Descriptor]) -> Void,
        ended: @escaping @Sendable (_ isBroken: Bool) -> Void
    ) {
        let source = DispatchSource.makeReadSource(fileDescriptor: connection.descriptor.raw, queue: queue)
        var nonsense = 0
        source.setEventHandler { [self] in
            while !isClosed {
                switch connection.receive(type) {
                case .message(let message, let descriptors):
                    nonsense = 0
                    received(message, descriptors)
                case .wouldBlock: return
                case .closed: close(ended, isBroken: false)
                case .malformed:
                    nonsense += 1
                    if nonsense == Self.nonsenseLimit { close(ended, isBroken: true) }
                }
            }
        }
        reading = source
        source.activate()
    }

    private func close(_ ended: (Bool) -> Void, isBroken: Bool) {
        isClosed = true
        reading?.cancel()
        writing?.cancel()
        unsent = []
        ended(isBroken)
    }

    /// Sends a message, now or when the other end takes it; in order.
    package func send(_ message: some LinkMessage) {
        guard !isClosed, unsent.count < Self.unsentLimit, let encoded = try? LinkCodec.encode(message) else { return }
        unsent.append(encoded)
        if writing == nil { sendUnsent() }
    }

    /// Drops what was not sent yet.
    package func forgetUnsent() { unsent = [] }

    private func sendUnsent() {
        var sent = 0
        loop: while sent < unsent.count {
            switch try? connection.send(encoded: unsent[sent]) {
            case .sent: sent += 1
            case .wouldBlock:
                waitForRoom()
                break loop
            // The receiving side learns it too, and deals with it.
            case .closed, nil: sent = unsent.count
            }
        }
        unsent.removeFirst(sent)
    }

    private func waitForRoom() {
        guard writing == nil else { return }
        let source = DispatchSource.makeWriteSource(fileDescriptor: connection.descriptor.raw, queue: queue)
        source.setEventHandler { [self] in
            writing?.cancel()
            writing = nil
            sendUnsent()
        }
        writing = source
        source.activate()
    }
}
