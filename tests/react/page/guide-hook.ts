// hooks/useVideoGeneration.ts
import { useState, useCallback } from 'react';

interface VideoJob {
  id: string;
  status: 'pending' | 'processing' | 'completed' | 'failed';
  video_url?: string;
  error_message?: string;
}

export function useVideoGeneration() {
  const [jobId, setJobId] = useState<string | null>(null);
  const [status, setStatus] = useState<VideoJob['status'] | null>(null);
  const [videoUrl, setVideoUrl] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [isGenerating, setIsGenerating] = useState(false);

  const generate = useCallback(async (params: {
    wallet_address: string;
    prompt: string;
    image_urls: string[];
    aspect_ratio?: 'landscape' | 'portrait';
  }) => {
    setIsGenerating(true);
    setError(null);
    
    try {
      const res = await fetch('/api/video/generate', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(params),
      });
      
      const data = await res.json();
      if (!res.ok) throw new Error(data.error);
      
      setJobId(data.job_id);
      setStatus('pending');
      
      // Start polling
      pollJobStatus(data.job_id);
      
    } catch (err: any) {
      setError(err.message);
      setIsGenerating(false);
    }
  }, []);

  const pollJobStatus = useCallback(async (id: string) => {
    const poll = async () => {
      try {
        const res = await fetch(`/api/video/jobs/${id}`);
        const data = await res.json();
        
        setStatus(data.job?.status);
        
        if (data.job?.status === 'completed') {
          setVideoUrl(data.job.video_url);
          setIsGenerating(false);
          return;
        }
        
        if (data.job?.status === 'failed') {
          setError(data.job.error_message);
          setIsGenerating(false);
          return;
        }
        
        // Continue polling
        setTimeout(poll, 2000);
      } catch (err) {
        setTimeout(poll, 5000);
      }
    };
    
    poll();
  }, []);

  return {
    generate,
    jobId,
    status,
    videoUrl,
    error,
    isGenerating,
  };
}
