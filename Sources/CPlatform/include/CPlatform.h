// What Swift cannot say: the child's side between clone and exec, control messages, raw system calls.
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <stdint.h>
#include <sys/types.h>

#include "supd_limit.h"
#include "supd_stream.h"
#include "supd_memory_file.h"
#include "supd_notice.h"
#include "supd_packet.h"
#include "supd_process.h"
#include "supd_spawn.h"
#include "supd_system.h"
#include "log_calls.h"

#endif
