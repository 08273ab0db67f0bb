import FoundationEssentials
import Platform

/// Prints every variable of the environment, sorted, as `NAME=value`.
func printEnvironment(_ environment: [String: String]) {
    for (name, value) in environment.sorted(by: { $0.key < $1.key }) { printLine("environment: \(name)=\(value)") }
}

/// Prints what a process inherits besides its environment: `descriptor: N target`, the lines of /proc/self/status about
/// signals and identity, and `group:` and `session:` beside its pid.
func printDescriptors() {
    let files = FileManager.default
    let numbers = ((try? files.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []).compactMap { Int($0) }.sorted()
    for number in numbers {
        // The directory itself was open while it was listed, and is gone now.
        guard let target = try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)") else { continue }
        printLine("descriptor: \(number) \(target)")
    }
    let kept = ["SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups", "NoNewPrivs", "Umask"]
    for line in text(of: "/proc/self/status").split(separator: "\n") where kept.contains(where: line.hasPrefix) {
        printLine("status: \(line.replacing("\t", with: " "))")
    }
    // pid (command) state ppid pgrp session …; the command may hold spaces and parentheses.
    let fields = text(of: "/proc/self/stat").split(separator: ")").last?.split(separator: " ") ?? []
    if fields.count > 3 { printLine("process: parent \(fields[1]) group \(fields[2]) session \(fields[3])") }
    printLine("directory: \(files.currentDirectoryPath)")
    printLine("oom_score_adj: \(text(of: "/proc/self/oom_score_adj").prefix { $0 != "\n" })")
}

private func text(of path: String) -> String {
    (try? Data(contentsOf: URL(filePath: path))).map { String(decoding: $0, as: UTF8.self) } ?? ""
}
