/// What a client of an `HTTPServerConnection` may cost.
package struct HTTPServerLimits: Sendable {
    /// For a whole request, from its first byte (of the first: from the connection) to its last.
    package var requestTime: Duration
    /// Between one answer and the next request.
    package var idleTime: Duration
    /// Without taking a byte of an answer.
    package var stallTime: Duration
    /// After the last answer, for the client to read it before the connection is cut.
    package var lingerTime: Duration
    /// The body of a request, in bytes.
    package var bodyBytes: Int
    /// What a client may send ahead before it has its answer, in bytes.
    package var bytesAhead: Int
    /// What a client may still send after the last answer, in bytes; it is dropped.
    package var bytesAfter: Int
    /// What may wait for a client that does not read when more of a stream comes, in bytes; beyond it the connection is cut.
    package var bytesBehind: Int
    /// What a client may send without a pause, in bytes: whoever keeps the queue busy for longer is cut.
    package var bytesAtOnce: Int
    /// Whether a client that sends no more while it is being sent a stream has gone. Of TCP nothing else can be seen; of a
    /// socket of this machine it can (`UnixStream.isPeerGone`).
    package var endsStreamAtEndOfInput: Bool

    /// Creates limits.
    package init(
        requestTime: Duration, idleTime: Duration, stallTime: Duration, lingerTime: Duration, bodyBytes: Int,
        bytesAhead: Int, bytesAfter: Int, bytesBehind: Int, bytesAtOnce: Int, endsStreamAtEndOfInput: Bool
    ) {
        self.requestTime = requestTime
        self.idleTime = idleTime
        self.stallTime = stallTime
        self.lingerTime = lingerTime
        self.bodyBytes = bodyBytes
        self.bytesAhead = bytesAhead
        self.bytesAfter = bytesAfter
        self.bytesBehind = bytesBehind
        self.bytesAtOnce = bytesAtOnce
        self.endsStreamAtEndOfInput = endsStreamAtEndOfInput
    }
}
