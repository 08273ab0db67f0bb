/// The paths at which a program may be, in order, as execvp(3) finds it: a name with a slash counts from the directory,
/// one without is looked for in PATH, and without that in the usual folders. Of an empty name there are none.
package func programCandidates(_ program: String, path: String?, directory: String) -> [String] {
    guard !program.isEmpty else { return [] }
    func absolute(_ path: some StringProtocol) -> String {
        if path.hasPrefix("/") { return String(path) }
        var relative = Substring(path)
        while relative.hasPrefix("./") { relative = relative.dropFirst(2).drop { $0 == "/" } }
        return directory.hasSuffix("/") ? "\(directory)\(relative)" : "\(directory)/\(relative)"
    }
    if program.contains("/") { return [absolute(program)] }
    let standard = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    // Every further folder costs a failed execve; nobody has as many.
    let folders = (path ?? standard).split(separator: ":", omittingEmptySubsequences: false).prefix(256)
    // An empty entry is the working directory.
    return folders.map { absolute($0.isEmpty ? program : $0.hasSuffix("/") ? "\($0)\(program)" : "\($0)/\(program)") }
}
