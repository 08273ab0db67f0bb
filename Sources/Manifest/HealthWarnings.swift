extension ManifestWarnings {
    /// What is allowed of `health`, but seldom meant.
    func warnOfHealth(_ service: NamedDraft, _ reader: inout FieldReader) {
        let draft = service.draft
        let health = draft.health
        guard let check = health.check, let checkLocation = health.checkLocation else {
            if let setting = health.settingLocation, !setting.path.hasPrefix("defaults.") {
                reader.warnings.add(
                    setting, "has no effect: nothing is probed; say what by \"http\", \"tcp\" or \"command\"")
            }
            return
        }
        guard draft.kind == .service else {
            if !checkLocation.path.hasPrefix("defaults.") {
                reader.warnings.add(checkLocation, "has no effect: a task at work is not probed")
            }
            return
        }
        if health.timeout.value > health.interval.value {
            let (timeout, interval) = (durationText(health.timeout.value), durationText(health.interval.value))
            // The default has no place in the text.
            let place = health.timeout.location.path.isEmpty ? health.interval.location : health.timeout.location
            reader.warnings.add(
                location(place, of: service),
                "the timeout of \(timeout) is longer than the interval of \(interval): probes that take so long put off "
                    + "those that follow; make it shorter")
        }
        if draft.restartPolicy?.value == .never {
            reader.warnings.add(
                location(checkLocation, of: service),
                "only shows what it finds, because the restart policy is \"never\": an unhealthy instance is not stopped"
            )
        }
        guard draft.ready == nil, draft.port == nil, draft.listen.isEmpty else { return }
        if case .command = check { return }
        reader.warnings.add(
            location(checkLocation, of: service),
            "begins as soon as the process is there, because nothing says when an instance is ready: one that starts "
                + "slowly is restarted before it is up; say \"ready\" as well")
    }
}
