// The table. A process is called `replica` and not `instance`: that label Prometheus gives to the supd that it has scraped.
// What a label can be is bounded: by the manifest, or by a list of words.

extension MetricFamily {
    /// All families, in the order of the text.
    package static let all: [MetricFamily] =
        daemon + roles + services + instances + limits + probes + logs
        + [acceptPauses] + SessionFamilies.fronts.all + [endpointAside, endpointsAside] + SessionFamilies.endpoints.all

    // MARK: supd itself

    /// `supd_build_info`.
    package static let buildInfo = MetricFamily(
        "supd_build_info", .gauge, ["version"], "1; the label says which supd it is.")
    /// `supd_start_time_seconds`.
    package static let startTime = MetricFamily(
        "supd_start_time_seconds", .gauge, "When this supd began, in seconds since 1970; an upgrade does not change it."
    )
    /// `supd_upgrades_total`.
    package static let upgrades = MetricFamily(
        "supd_upgrades_total", .counter, "How often another program has taken this supd's place, by supctl upgrade.")
    private static let daemon = [buildInfo, startTime, upgrades]

    private static let ofRole = ["role"]
    /// `supd_role_up`.
    package static let roleUp = MetricFamily(
        "supd_role_up", .gauge, ofRole,
        "Whether supd's own process of this name is there: keeper, supervisor, balancer, web.")
    /// `supd_role_starts_total`.
    package static let roleStarts = MetricFamily(
        "supd_role_starts_total", .counter, ofRole,
        "How often it was started: once, and once for every crash and every upgrade.")
    /// `supd_role_cpu_seconds_total`.
    package static let roleProcessor = MetricFamily(
        "supd_role_cpu_seconds_total", .counter, ofRole, "CPU time of the process that runs now.")
    /// `supd_role_resident_memory_bytes`.
    package static let roleMemory = MetricFamily(
        "supd_role_resident_memory_bytes", .gauge, ofRole,
        "Resident memory, pages shared with other processes included.")
    /// `supd_role_open_descriptors`.
    package static let roleDescriptors = MetricFamily(
        "supd_role_open_descriptors", .gauge, ofRole, "Descriptors that it has open.")
    /// `supd_role_threads`.
    package static let roleThreads = MetricFamily("supd_role_threads", .gauge, ofRole, "Its threads.")
    private static let roles = [roleUp, roleStarts, roleProcessor, roleMemory, roleDescriptors, roleThreads]

    // MARK: Services

    private static let ofService = ["service"]
    /// `supd_service_state`.
    package static let serviceState = MetricFamily(
        "supd_service_state", .gauge, ["service", "state"], "1 for the state that the service is in, 0 for all others.")
    /// `supd_service_wanted`.
    package static let serviceWanted = MetricFamily(
        "supd_service_wanted", .gauge, ofService, "Whether it is to run: 0 after supctl stop, and while it is idle.")
    /// `supd_service_replicas`.
    package static let serviceReplicas = MetricFamily(
        "supd_service_replicas", .gauge, ofService, "How many instances there are to be.")
    /// `supd_service_ready_replicas`.
    package static let serviceReady = MetricFamily(
        "supd_service_ready_replicas", .gauge, ofService, "How many instances are ready (of a task: have completed).")
    private static let services = [serviceState, serviceWanted, serviceReplicas, serviceReady]

    // MARK: Instances

    private static let ofInstance = ["service", "replica"]
    /// `supd_instance_state`.
    package static let instanceState = MetricFamily(
        "supd_instance_state", .gauge, ["service", "replica", "state"],
        "1 for the state that the instance is in, 0 for all others.")
    /// `supd_instance_ready`.
    package static let instanceReady = MetricFamily(
        "supd_instance_ready", .gauge, ofInstance, "Whether it is ready (of a task: has completed).")
    /// `supd_instance_drained`.
    package static let instanceDrained = MetricFamily(
        "supd_instance_drained", .gauge, ofInstance, "Whether supctl drain has taken it out of the balancer.")
    /// `supd_instance_healthy`.
    package static let instanceHealthy = MetricFamily(
        "supd_instance_healthy", .gauge, ofInstance,
        "Whether its health probes say so; absent without health, and before the first result.")
    /// `supd_instance_health_failures`.
    package static let instanceHealthFailures = MetricFamily(
        "supd_instance_health_failures", .gauge, ofInstance, "How many health probes have failed in a row.")
    /// `supd_instance_restarts_total`.
    package static let instanceRestarts = MetricFamily(
        "supd_instance_restarts_total", .counter, ["service", "replica", "reason"],
        "Starts after the first, failed ones too, by how the process before has ended, or why it was ended. RESTARTS of "
            + "supctl status leaves out requested and woken, and begins anew with each requested one.")
    /// `supd_instance_start_time_seconds`.
    package static let instanceStart = MetricFamily(
        "supd_instance_start_time_seconds", .gauge, ofInstance,
        "When the process began, in seconds since 1970; time() less that is how long it is up.")
    /// `supd_instance_processes`.
    package static let instanceProcesses = MetricFamily(
        "supd_instance_processes", .gauge, ofInstance, "Its processes: the one that supd has started, and all below it."
    )
    /// `supd_instance_threads`.
    package static let instanceThreads = MetricFamily(
        "supd_instance_threads", .gauge, ofInstance, "The threads of all its processes.")
    /// `supd_instance_cpu_seconds_total`.
    package static let instanceProcessor = MetricFamily(
        "supd_instance_cpu_seconds_total", .counter, ofInstance,
        "CPU time of all its processes, and of those that have ended below them.")
    /// `supd_instance_resident_memory_bytes`.
    package static let instanceMemory = MetricFamily(
        "supd_instance_resident_memory_bytes", .gauge, ofInstance,
        "Resident memory of all its processes; pages that they share count in each.")
    /// `supd_instance_virtual_memory_bytes`.
    package static let instanceVirtual = MetricFamily(
        "supd_instance_virtual_memory_bytes", .gauge, ofInstance, "Address space of all its processes.")
    /// `supd_instance_open_descriptors`.
    package static let instanceDescriptors = MetricFamily(
        "supd_instance_open_descriptors", .gauge, ofInstance,
        "Descriptors that all its processes have open; absent where supd may not look.")
    private static let instances = [
        instanceState, instanceReady, instanceDrained, instanceHealthy, instanceHealthFailures, instanceRestarts,
        instanceStart, instanceProcesses, instanceThreads, instanceProcessor, instanceMemory, instanceVirtual,
        instanceDescriptors,
    ]

    // MARK: Limits

    private static let ofLimit = ["service", "replica", "limit"]
    /// `supd_instance_limit_bytes`.
    package static let limitBytes = MetricFamily(
        "supd_instance_limit_bytes", .gauge, ofLimit,
        "Soft limits in force of the process that supd has started, those in bytes; absent is unlimited, or as supd's own "
            + "where its use is not known.")
    /// `supd_instance_limit_seconds`.
    package static let limitSeconds = MetricFamily(
        "supd_instance_limit_seconds", .gauge, ofLimit, "The same: those in seconds.")
    /// `supd_instance_limit`.
    package static let limitCount = MetricFamily(
        "supd_instance_limit", .gauge, ofLimit, "The same: those that are a number of something.")
    /// `supd_instance_limit_usage_ratio`.
    package static let limitUsage = MetricFamily(
        "supd_instance_limit_usage_ratio", .gauge, ofLimit,
        "How much of a soft limit is used, 1 is all, by that process which is nearest to it: nofile, as, data, "
            + "stack (first thread), memlock, cpu and sigpending (of its user); of others the kernel tells none.")
    private static let limits = [limitBytes, limitSeconds, limitCount, limitUsage]

    // MARK: Probes and logs

    /// `supd_probes_total`.
    package static let probesDone = MetricFamily(
        "supd_probes_total", .counter, ["service", "kind", "result"],
        "Probes that have ended; kind is ready or health, result passed or failed.")
    private static let probes = [probesDone]

    /// `supd_log_lines_total`.
    package static let logLines = MetricFamily(
        "supd_log_lines_total", .counter, ofInstance,
        "Lines that were taken from the instance's output, those dropped included.")
    /// `supd_log_bytes_total`.
    package static let logBytes = MetricFamily("supd_log_bytes_total", .counter, ofInstance, "The same in bytes.")
    /// `supd_log_dropped_lines_total`.
    package static let logDroppedLines = MetricFamily(
        "supd_log_dropped_lines_total", .counter, ofInstance,
        "Of these, lines that could not be written (the disk was full, or another error), or were more than log.rate.")
    /// `supd_log_dropped_bytes_total`.
    package static let logDroppedBytes = MetricFamily(
        "supd_log_dropped_bytes_total", .counter, ofInstance, "The same in bytes.")
    /// `supd_log_journal_dropped_lines_total`.
    package static let logJournalDroppedLines = MetricFamily(
        "supd_log_journal_dropped_lines_total", .counter, ofInstance,
        "Lines of services with log.journal that systemd's journal has not got; they are in the files.")
    private static let logs = [logLines, logBytes, logDroppedLines, logDroppedBytes, logJournalDroppedLines]

    // MARK: The balancer

    /// `supd_balancer_accept_pauses_total`.
    package static let acceptPauses = MetricFamily(
        "supd_balancer_accept_pauses_total", .counter,
        "How often accepting has paused for want of descriptors. All counters of fronts and endpoints begin anew with the "
            + "balancer.")
    /// `supd_endpoint_set_aside`.
    package static let endpointAside = MetricFamily(
        "supd_endpoint_set_aside", .gauge, ofInstance,
        "Whether it gets no connections, since connects have failed, until one that tries it succeeds.")
    /// `supd_endpoint_times_set_aside_total`.
    package static let endpointsAside = MetricFamily(
        "supd_endpoint_times_set_aside_total", .counter, ofInstance, "How often that has happened.")
}

extension MetricFamily {
    /// One without labels.
    init(_ name: String, _ kind: Kind, _ help: String) { self.init(name, kind, [], help) }
}
