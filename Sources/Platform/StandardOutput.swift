import Glibc

/// Writes text and a newline to standard output by write(2), past the buffers of the C library, so that a line is out
/// when the call returns. What cannot be written is dropped: nobody is left to read it.
package func printLine(_ text: String) { printBytes(Array((text + "\n").utf8)) }

/// Writes bytes to standard output by write(2), as `printLine` does.
package func printBytes(_ bytes: [UInt8]) { writeFully(bytes, to: STDOUT_FILENO) }

/// Writes text and a newline to standard error by write(2), as `printLine` does to standard output.
package func printErrorLine(_ text: String) { writeFully(Array((text + "\n").utf8), to: STDERR_FILENO) }

/// Ends the process with an exit code, by exit(3).
package func exitProcess(_ code: Int32) -> Never { exit(code) }

private func writeFully(_ bytes: [UInt8], to descriptor: Int32) {
    bytes.withUnsafeBytes { buffer in
        var rest = buffer[...]
        while !rest.isEmpty {
            let written = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }
}
