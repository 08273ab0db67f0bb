import CPlatform
import Platform

/// Lines for sessions that have ended, of one wake-up, on their way to one pipe.
///
/// A line, as an example (here in two); the fields are always these, in this order, and `-` is said of what there was
/// not:
///
///     client=203.0.113.7:51234 front=0.0.0.0:8080 instance=api/2 header=- queue=0.000
///         connect=0.001 total=1.234 in=312 out=1822 retries=0 end=--
///
/// | field | what |
/// |---|---|
/// | `client` | the client's address and port, that of a PROXY header if the front accepts it; IPv6 in brackets; `unix` |
/// | `front` | the front, as in the manifest's `listen` |
/// | `instance` | the instance that the session has reached or tried last |
/// | `header` | seconds from the accept until the PROXY header had come, or to the end; `-` if the front takes none |
/// | `queue` | seconds from then (without a header: from the accept) to the last connect, or to the end |
/// | `connect` | seconds that connect took |
/// | `total` | seconds from the accept to the end |
/// | `in`, `out` | bytes from the client, and to it |
/// | `retries` | connects after the first one |
/// | `end` | see `EndState` |
/// | `dropped` | only if it is so: lines of this loop lost before this one, for the pipe was full |
///
/// Sessions that began before the log was asked for have no line. The loops' clock is coarse: times are true to some
/// milliseconds. What is written at once ends with a line and is at
/// most PIPE_BUF bytes, which the kernel neither divides nor mixes with what other loops write.
struct SessionLines {
    /// PIPE_BUF of Linux.
    static let capacity = 4096
    /// No line is longer.
    static let longestLine = 511

    let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    /// The pool that the lines belong to.
    var pool: UInt32 = 0
    var count = 0
    /// How many lines there are, and how many lost ones they speak of.
    var lines: UInt64 = 0
    var reported: UInt64 = 0
}

extension LoopCore {
    /// Composes the line of a session; it is written at the end of the wake-up.
    mutating func logSession(
        _ connection: ConnectionReference, _ details: UnsafeMutablePointer<SessionDetails>, _ end: EndState
    ) {
        let number = connection.head.pointee.pool
        let pool = pools[number]
        guard pool.pointee.sessionLog >= 0 else { return }
        if lines.count > 0, lines.pool != number || lines.count > SessionLines.capacity - SessionLines.longestLine {
            writeSessionLines()
        }
        lines.pool = number
        var line = TextWriter(lines.memory + lines.count, capacity: SessionLines.longestLine)
        compose(connection, details, end, in: &line)
        if pool.pointee.droppedLines > 0 {
            line.append(" dropped=")
            line.append(pool.pointee.droppedLines)
            lines.reported += pool.pointee.droppedLines
            pool.pointee.droppedLines = 0
        }
        line.append("\n")
        lines.count += line.count
        lines.lines += 1
    }

    private mutating func compose(
        _ connection: ConnectionReference, _ details: UnsafeMutablePointer<SessionDetails>, _ end: EndState,
        in line: inout TextWriter
    ) {
        let head = connection.head
        let began = details.pointee.connectBegan
        line.append("client=")
        let client = head.pointee.client
        if client.isNone {
            line.append(head.pointee.isUnixFront ? "unix" : "-")
        } else {
            if client.isIPv6 { line.append("[") }
            line.append(client, asIPv6: client.isIPv6)
            line.append(client.isIPv6 ? "]:" : ":")
            line.append(UInt64(client.port))
        }
        line.append(" front=")
        line.append(head.pointee.front.pointee.label)
        line.append(" instance=")
        if let instance = details.pointee.instance { line.append(instance.pointee.label) } else { line.append("-") }
        let introduced = details.pointee.introduced < 0 ? now : details.pointee.introduced
        line.append(" header=")
        if introduced > 0 { line.append(seconds: introduced - head.pointee.accepted) } else { line.append("-") }
        line.append(" queue=")
        line.append(seconds: (began > 0 ? began : now) - max(introduced, head.pointee.accepted))
        line.append(" connect=")
        if details.pointee.connectDone > 0 {
            line.append(seconds: details.pointee.connectDone - began)
        } else {
            line.append("-")
        }
        line.append(" total=")
        line.append(seconds: now - head.pointee.accepted)
        line.append(" in=")
        line.append(details.pointee.bytesIn)
        line.append(" out=")
        line.append(details.pointee.bytesOut)
        line.append(" retries=")
        line.append(UInt64(max(details.pointee.connects, 1) - 1))
        line.append(" end=")
        line.append(byte: end.cause.letter)
        line.append(byte: end.stage.letter)
    }

    /// Writes what was collected. A full pipe takes nothing, and the next line says how many were lost.
    mutating func writeSessionLines() {
        guard lines.count > 0 else { return }
        let pool = pools[lines.pool]
        if supd_write(pool.pointee.sessionLog, lines.memory, lines.count) != lines.count {
            pool.pointee.droppedLines += lines.lines + lines.reported
        }
        lines.count = 0
        lines.lines = 0
        lines.reported = 0
    }

    /// Takes the writing end of a service's pipe.
    mutating func take(sessionLog pipe: Descriptor, service: String) {
        writeSessionLines()
        sessionLogs[service] = pipe
        if let number = poolNumbers[service] { pools[number].pointee.sessionLog = pipe.raw }
    }
}
