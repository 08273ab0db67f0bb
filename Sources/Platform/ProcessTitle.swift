import CPlatform

/// Gives this process the name that `ps -o comm` and `top` show, at most 15 bytes, by prctl(PR_SET_NAME).
package func setProcessName(_ name: String) {
    _ = supd_set_name(name)
}
