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
    /// For the whole of a request, from the connection or its first byte on.
    var requestTime: Int64 = 10_000_000_000
    /// Between an answer and the next request.
    var idleTime: Int64 = 30_000_000_000
    /// Without taking a byte of an answer.
    var stallTime: Int64 = 20_000_000_000
    /// After the last answer, for the client to read it before the connection is cut.
    var lingerTime: Int64 = 1_000_000_000
    /// The body of a request, in bytes.
    var bodyBytes = 4 << 10
    /// What a client may send ahead, in bytes.
    var bytesAhead = 16 << 10
    /// What may wait for a client that does not read, in bytes; beyond it a stream pauses.
    var streamBytesBehind = 256 << 10
    /// The answer of the control API to one question, in bytes: a status of 4,000 instances fits.
    var answerBytes = 16 << 20
    /// How long the control API may take to answer.
    var answerTime: Int64 = 15_000_000_000
    /// Between two looks at the status while somebody watches.
    var statusInterval: Int64 = 2_000_000_000
}
