import Manifest
import Platform

/// Reads a file of `environmentFiles`; what may stand in it, `parseEnvironmentFile` says.
enum EnvironmentFile {
    /// Why a file is of no use: complete texts, which never show a value, since it may be a secret.
    struct Problem: Error {
        var text: String
    }

    /// Reads a file by its path.
    static func read(_ path: String) throws(Problem) -> [(name: String, value: String)] {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Files.read(path, limit: maximumEnvironmentFileSize)
        } catch {
            let reason =
                switch error.code {
                case ErrorCode.fileTooLarge: "it is larger than 1 MiB"
                case ErrorCode.invalid: "it is not a regular file"
                default: error.reason
                }
            throw Problem(text: "cannot read the environment file \(path): \(reason)")
        }
        do throws(EnvironmentFileError) {
            return try parseEnvironmentFile(bytes)
        } catch {
            throw Problem(text: "environment file \(path):\(error.line): \(error.message)")
        }
    }
}
