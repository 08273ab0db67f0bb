/// What `supd --check` and `supctl check` print: errors and warnings, each on a line of its own with its place, then a
/// line that sums up. Ends with a line break.
package func checkReport(_ result: LoadedManifest) -> String {
    var lines = result.errors.map(\.description)
    if result.omittedErrors > 0 { lines.append("\(result.file): and \(counted(result.omittedErrors, "more error"))") }
    lines += result.warnings.map(\.description)
    if result.omittedWarnings > 0 {
        lines.append("\(result.file): and \(counted(result.omittedWarnings, "more warning"))")
    }
    let warningCount = result.warnings.count + result.omittedWarnings
    let warnings = warningCount == 0 ? "" : ", " + counted(warningCount, "warning")
    if let manifest = result.manifest {
        let instances = manifest.services.reduce(0) { $0 + $1.replicas }
        lines.append(
            "\(result.file): \(counted(manifest.services.count, "service")), "
                + "\(counted(instances, "instance")): OK\(warnings)"
        )
    } else {
        lines.append("\(result.file): \(counted(result.errors.count + result.omittedErrors, "error"))\(warnings)")
    }
    return lines.joined(separator: "\n") + "\n"
}
