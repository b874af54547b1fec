# Runs a program inside a root tree; the caller has made the mount and pid namespaces.
# Arguments: root, scratch folder, emulator to register with binfmt_misc ("" for none), command.
# This shell stays process 1 of the namespace, so that the program has an ordinary signal state.
set -e
root=$1 scratch=$2 register=$3
shift 3
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$scratch" "$root/scratch"
if [ -n "$register" ]; then
    mount -t binfmt_misc binfmt_misc "$root/proc/sys/fs/binfmt_misc"
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s\n' ":riscv64:M::$magic:$mask:$root$register:PF" \
        > "$root/proc/sys/fs/binfmt_misc/register"
fi
set +e
unshare --root="$root" --wd=/scratch "$@"
exit $?
