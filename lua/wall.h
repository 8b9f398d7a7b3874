/* The walls around a script's process: built in the child, right after the fork, from the inside. None can be taken down again.
 *
 * Memory, time and descriptors are bounded by any kernel: the process has its socket and can open nothing more. Seccomp (a short list of
 * system calls) closes the file system and the network, Landlock the file system and some ports. A process that broke out of Lua could
 * undo the bound on descriptors where it runs as root, so the bound alone is no wall. */
#ifndef KG_LUA_WALL_H
#define KG_LUA_WALL_H

#include <sys/types.h>

#include "lua/script.h"

/* Default signals, death with the parent, the socket as descriptor 0 and no other, limits. 1 when all of it holds. */
int kg_wall_limits(int socket, pid_t parent, const kg_script_limits *l);
/* No file system, no network, few system calls: KG_WALL_*. */
int kg_wall_up(void);

#endif
