import ControlAPI

/// What a client may cost.
struct WebLimits: Sendable {
    /// Connections at a time. One more takes the place of an idle one, else of the one whose request has been awaited
    /// longest.
    var connections = 128
    /// Of them from one address, unless that is of this machine, where a reverse proxy may be.
    var connectionsPerAddress = 32
    /// Whether connections of this machine are spared that; tests have no other machine.
    var sparesThisMachine = true
    /// Streams of events or log lines at a time.
    var streams = 16
    /// Of one connection. A stream pauses long before it is cut; what it is sent at once is an answer at the most.
    var perConnection = HTTPServerLimits(
        requestTime: .seconds(10), idleTime: .seconds(30), stallTime: .seconds(20), lingerTime: .seconds(1),
        bodyBytes: 4 << 10, bytesAhead: 16 << 10, bytesAfter: 16 << 10, bytesBehind: 16 << 20, bytesAtOnce: 1 << 20,
        endsStreamAtEndOfInput: true)
    /// What may wait for a client that does not read, in bytes; beyond it a stream pauses.
    var streamBytesBehind = 256 << 10
    /// The answer of the control API to one question, in bytes: a status of 4,000 instances fits.
    var answerBytes = 16 << 20
    /// How long the control API may take to answer.
    var answerTime: Int64 = 15_000_000_000
    /// Between two looks at the status while somebody watches.
    var statusInterval: Int64 = 2_000_000_000
}
