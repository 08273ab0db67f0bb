import Dispatch
import Links
import Platform

/// A link to another role on a dispatch queue: reads by a source or a thread, keeps in order what the socket does not
/// take at once. Belongs to one queue; never used from another.
final class DispatchLink<Outgoing: LinkMessage, Incoming: LinkMessage> {
    private let connection: LinkConnection
    private let queue: DispatchQueue
    private let readable: InputWatch
    private var writable: (any DispatchSourceWrite)?
    private var waiting: [(message: EncodedMessage, descriptors: [Descriptor])] = []
    private let problem: (String) -> Void
    private var isClosed = false

    /// The keeper pauses reading when its own queue is full; beyond this many messages it is not coming back.
    private static var mostWaiting: Int { 100_000 }

    private let onWritable: @Sendable () -> Void

    /// Takes over a connection. Both handlers are called on the queue: `onReadable` must `receive` until nothing is
    /// left, `onWritable` must `flush`. `problem` is told what could not be sent.
    init(
        _ connection: LinkConnection, queue: DispatchQueue, reading: InputWatch.Manner = .bySource,
        onReadable: @escaping @Sendable () -> Void, onWritable: @escaping @Sendable () -> Void,
        problem: @escaping (String) -> Void
    ) {
        self.problem = problem
        self.connection = connection
        self.queue = queue
        self.onWritable = onWritable
        readable = .begin(connection.descriptor, reading, on: queue, onReadable)
    }

    deinit { close() }

    /// Sends a message, now or as soon as the socket takes it; false if it will never be sent.
    @discardableResult
    func send(_ message: Outgoing, _ descriptors: [Descriptor] = []) -> Bool {
        guard !isClosed else { return false }
        do throws(LinkError) {
            let encoded = try LinkCodec.encode(message)
            guard waiting.isEmpty else {
                guard waiting.count < Self.mostWaiting else {
                    problem("it has taken nothing for a long time")
                    return false
                }
                waiting.append((encoded, descriptors))
                return true
            }
            if try connection.send(encoded: encoded, descriptors: descriptors) == .wouldBlock {
                waiting.append((encoded, descriptors))
                awaitWritable()
            }
            return true
        } catch {
            problem(error.description)
            return false
        }
    }

    /// Whether the socket has taken all that was sent.
    var isFlushed: Bool { waiting.isEmpty }

    /// The next message, if there is one.
    func receive() -> LinkConnection.Receipt<Incoming> {
        isClosed ? .closed : connection.receive(Incoming.self)
    }

    /// Stops reading and writing; the descriptor is closed once Dispatch has let go of it.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        readable.end()
        writable?.cancel()
        writable = nil
        waiting = []
    }

    private func awaitWritable() {
        guard writable == nil else { return }
        let source = DispatchSource.makeWriteSource(fileDescriptor: connection.descriptor.raw, queue: queue)
        let kept = connection.descriptor
        source.setEventHandler(handler: onWritable)
        source.setCancelHandler { withExtendedLifetime(kept) {} }
        writable = source
        source.activate()
    }

    /// Sends on what was waiting.
    func flush() {
        var sent = 0
        for next in waiting {
            do throws(LinkError) {
                if try connection.send(encoded: next.message, descriptors: next.descriptors) == .wouldBlock { break }
            } catch {
                problem(error.description)
            }
            sent += 1
        }
        waiting.removeFirst(sent)
        guard waiting.isEmpty else { return }
        writable?.cancel()
        writable = nil
    }
}
