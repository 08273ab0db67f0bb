import Dispatch
import Platform

/// A server on a Unix socket that reads one HTTP request a connection, answers as it was told, and closes. It notes what
/// it was asked.
package final class ScriptedServer: @unchecked Sendable {
    /// What one connection is answered with.
    package enum Reply: Sendable {
        /// These bytes.
        case bytes([UInt8])
        /// Nothing: the connection is closed.
        case close
        /// Nothing until `end` is called.
        case silence
    }

    private let thread = DispatchQueue(label: "scripted server")
    private let noted = DispatchQueue(label: "noted")
    private var seen: [String] = []
    private let ending = DispatchSemaphore(value: 0)

    /// Serves as many connections as there are replies; whoever comes later waits in the backlog, until the server is
    /// forgotten.
    package init(_ path: String, _ replies: [Reply]) throws {
        let listener = try unixListener(at: path)
        thread.async { [weak self, noted, ending] in
            for reply in replies {
                guard let stream = try? Self.next(listener) else { return }
                guard let request = Self.read(stream) else { continue }
                noted.sync { self?.seen.append(request) }
                switch reply {
                case .bytes(let bytes): Self.send(bytes, to: stream)
                case .close: break
                case .silence: ending.wait()
                }
            }
        }
    }

    /// The requests so far, as they came.
    package func requests() -> [String] { noted.sync { seen } }

    /// Ends a silence.
    package func end() { ending.signal() }

    private static func next(_ listener: Descriptor) throws -> UnixStream? {
        _ = try UnixStream(listener).wait(for: .readable, until: monotonicNanoseconds() + 30_000_000_000)
        return try UnixStream.accept(from: listener)
    }

    private static func read(_ stream: UnixStream) -> String? {
        var text = ""
        while !isComplete(text) {
            guard (try? stream.wait(for: .readable, until: nil)) == true, case .bytes(let bytes) = try? stream.receive()
            else { return nil }
            text += String(decoding: bytes, as: UTF8.self)
        }
        return text
    }

    private static func isComplete(_ text: String) -> Bool {
        let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
        guard let end = lines.firstIndex(of: ""), end + 1 < lines.count else { return false }
        let length =
            lines[..<end].compactMap { line in
                line.hasPrefix("Content-Length: ") ? Int(line.dropFirst("Content-Length: ".count)) : nil
            }.first ?? 0
        return lines[(end + 1)...].joined(separator: "\r\n").utf8.count >= length
    }

    private static func send(_ bytes: [UInt8], to stream: UnixStream) {
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let count = try? stream.send(rest), (try? stream.wait(for: .writable, until: nil)) == true else {
                return
            }
            rest = rest.dropFirst(count)
        }
    }
}
