package import Platform

/// Why a request to the daemon brought no answer.
package enum ControlClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Nobody could be reached at the socket.
    case unreachable(path: String, SystemError)
    /// The daemon answered with an error.
    case refused(status: Int, ErrorReport.Body)
    /// The connection ended before the answer did.
    case lost(_ path: String)
    /// The answer did not come in time.
    case timedOut(_ path: String)
    /// What came is no answer of supd's.
    case notUnderstood(_ path: String, _ detail: String)

    /// What supctl exits with.
    package var exitCode: Int32 {
        switch self {
        case .unreachable: 5
        case .refused(_, let report) where report.code == "no-such-name": 4
        case .refused(_, let report) where report.code == "usage": 2
        case .refused, .lost, .timedOut, .notUnderstood: 1
        }
    }

    package var description: String {
        switch self {
        case .unreachable(let path, let error):
            "cannot reach supd at \(path): \(error.reason)\(Self.advice(path, error))"
        case .refused(_, let report): report.message
        case .lost(let path):
            "supd at \(path) ended the connection before its answer was complete; look at what came of it with "
                + "\"supctl status\""
        case .timedOut(let path): "supd at \(path) did not answer in time"
        case .notUnderstood(let path, let detail): "cannot understand the answer from \(path): \(detail)"
        }
    }

    private static func advice(_ path: String, _ error: SystemError) -> String {
        switch error.code {
        case ErrorCode.notFound, ErrorCode.connectionRefused:
            "; is it running? Start it with \"supd MANIFEST\" or \"systemctl start supd\", "
                + "or name another socket with --socket"
        case ErrorCode.accessDenied:
            "; the socket is open to the owner and the group of the daemon: run supctl as one of them, or with sudo"
        case ErrorCode.nameTooLong:
            "; the path of a socket has at most \(UnixStream.longestPath) bytes, and this one has \(path.utf8.count): "
                + "give supd a shorter --runtime-directory"
        case ErrorCode.tryAgain: "; too many others are waiting for it; try again later"
        default: ""
        }
    }
}
