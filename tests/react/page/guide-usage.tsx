// The guide's usage example; only the hook, the address and the image come from outside.
import type { useVideoGeneration as GuidesHook } from './guide-hook';

export function VideoGenerator({ useVideoGeneration, currentAddress, selectedImageUrl }: {
  useVideoGeneration: typeof GuidesHook;
  currentAddress: string;
  selectedImageUrl: string;
}) {
  const { generate, status, videoUrl, error, isGenerating } = useVideoGeneration();
  
  const handleGenerate = () => {
    generate({
      wallet_address: currentAddress,
      prompt: 'A character dancing in the rain',
      image_urls: [selectedImageUrl],
      aspect_ratio: 'landscape',
    });
  };

  return (
    <div>
      <button onClick={handleGenerate} disabled={isGenerating}>
        {isGenerating ? 'Generating...' : 'Generate Video'}
      </button>
      
      {status && <p>Status: {status}</p>}
      {error && <p className="error">{error}</p>}
      {videoUrl && (
        <video src={videoUrl} controls autoPlay loop />
      )}
    </div>
  );
}
