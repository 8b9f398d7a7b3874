/* Which file systems lie on another machine: locks and shared memory do not hold there, or for one machine alone. A FUSE file system
 * may be anything; the few local ones are known by type. */
#include "core/file.h"

#include <string.h>

int kg_file_system_remote(long magic, const char *type, const char **name)
{
    static const struct { unsigned magic; const char *name; } remote[] = {
        {0x6969, "NFS"}, {0x517b, "SMB"}, {0xfe534d42, "SMB"}, {0xff534d42, "CIFS"}, {0x5346414f, "AFS"}, {0x73757245, "Coda"},
        {0x01021997, "9P"}, {0x00c36400, "Ceph"}, {0x0bd00bd0, "Lustre"}, {0x47504653, "GPFS"}, {0x7461636f, "OCFS2"},
        {0x01161970, "GFS2"}, {0x786f4256, "a VirtualBox shared folder"}, {0x65735546, "FUSE"}};
    static const char *const local_fuse[] = {"fuseblk", "fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.gocryptfs", "fuse.encfs"};
    if ((unsigned)magic == 0x65735546u)
        for (size_t i = 0; type && i < sizeof local_fuse / sizeof *local_fuse; ++i)
            if (!strcmp(type, local_fuse[i]))
                return 0;
    for (size_t i = 0; i < sizeof remote / sizeof *remote; ++i)
        if (remote[i].magic == (unsigned)magic) {
            *name = remote[i].name;
            return 1;
        }
    return 0;
}
