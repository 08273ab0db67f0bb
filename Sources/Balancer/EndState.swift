/// How a session has ended: two letters in the manner of HAProxy's, who or what has ended it and how far it was.
///
/// | first | who or what has ended it |
/// |---|---|
/// | `-` | nobody: both sides have said all and ended in order |
/// | `C` | the client has reset the connection, or left before it was served |
/// | `S` | the endpoint has reset the connection, or refused it |
/// | `c` | a time was over in which the client was waited for |
/// | `s` | a time was over in which an endpoint was waited for |
/// | `P` | the balancer by a rule: a list, a limit, or a service that is stopped |
/// | `R` | the balancer for want of descriptors or memory |
/// | `D` | the balancer, because the endpoint's time to drain was over |
///
/// | second | how far it was |
/// |---|---|
/// | `-` | it was complete |
/// | `G` | coming in: the rules of the front, and the header of the PROXY protocol |
/// | `Q` | waiting for an endpoint |
/// | `C` | connecting to an endpoint |
/// | `D` | open, data |
/// | `L` | open, and the endpoint had ended: the last data, and what the client still had to say |
///
/// Usual ones: `CQ` and `CC` a client without patience; `sQ` no endpoint within `queueTimeout`; `SD` an instance that
/// crashed; `PQ` beyond `maxQueue`, or a service that is stopped; `cD` `idleTimeout`; `sD` after the client, and `cL`
/// after the endpoint had ended: `finTimeout`; `PG` not in `allow`, beyond `maxConnectionsPerAddress` or without a valid
/// PROXY header; `cG` without any. Sessions that are open when the balancer ends have no state: its counters and its
/// lines end with it.
///
/// An endpoint counts how the connections assigned to it have ended there, those too that went on to another one: `SC`
/// refused, `sC` not answered in time. When it has ended in order, and its client is still heard out, that is `--` for
/// the endpoint whatever the client does afterwards.
struct EndState: Equatable {
    /// Who or what has ended it.
    enum Cause: UInt8, CaseIterable {
        case normal, client, endpoint, clientTimeout, endpointTimeout, refused, shortage, drained

        /// The first letter.
        var letter: UInt8 {
            switch self {
            case .normal: UInt8(ascii: "-")
            case .client: UInt8(ascii: "C")
            case .endpoint: UInt8(ascii: "S")
            case .clientTimeout: UInt8(ascii: "c")
            case .endpointTimeout: UInt8(ascii: "s")
            case .refused: UInt8(ascii: "P")
            case .shortage: UInt8(ascii: "R")
            case .drained: UInt8(ascii: "D")
            }
        }
    }

    /// How far it was.
    enum Stage: UInt8, CaseIterable {
        case complete, greeting, queue, connect, data, last

        /// The second letter.
        var letter: UInt8 {
            switch self {
            case .complete: UInt8(ascii: "-")
            case .greeting: UInt8(ascii: "G")
            case .queue: UInt8(ascii: "Q")
            case .connect: UInt8(ascii: "C")
            case .data: UInt8(ascii: "D")
            case .last: UInt8(ascii: "L")
            }
        }
    }

    let cause: Cause
    let stage: Stage

    /// Nobody has ended it before its time.
    static var complete: EndState { EndState(.normal, .complete) }

    init(_ cause: Cause, _ stage: Stage) {
        self.cause = cause
        self.stage = stage
    }

    /// The one with this index; nil if there is none.
    init?(index: Int) {
        guard index >= 0, let cause = Cause(rawValue: UInt8(clamping: index / Self.stages)),
            let stage = Stage(rawValue: UInt8(index % Self.stages))
        else { return nil }
        self.init(cause, stage)
    }

    private static var stages: Int { 6 }
    /// How many there are.
    static var count: Int { 8 * stages }
    /// A number below `count`.
    @inline(__always) var index: Int { Int(cause.rawValue) * Self.stages + Int(stage.rawValue) }

    /// The two letters.
    var text: String { String(decoding: [cause.letter, stage.letter], as: UTF8.self) }
}

extension LoopCore {
    /// How far a connection is, for the state that it ends with.
    func stage(of connection: ConnectionReference) -> EndState.Stage {
        switch connection.head.pointee.phase {
        case .greeting: .greeting
        case .assigning, .waiting: .queue
        case .connecting: .connect
        case .open, .resetting, .discarding:
            connection.flow(from: .endpoint).pointee.flags.isDisjoint(with: [.ended, .passed]) ? .data : .last
        }
    }

    /// The state that a connection ends with: what was noted when its end began, else by the cause and how far it is.
    func end(of connection: ConnectionReference, _ cause: EndState.Cause) -> EndState {
        if let noted = EndState(index: Int(connection.head.pointee.end) - 1) { return noted }
        return cause == .normal ? .complete : EndState(cause, stage(of: connection))
    }

    /// Notes how a connection ends, if that was not decided before.
    func note(_ end: EndState, _ connection: ConnectionReference) {
        guard connection.head.pointee.end == 0 else { return }
        connection.head.pointee.end = UInt8(end.index + 1)
    }
}
